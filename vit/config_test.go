package vit

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

var updateDocs = flag.Bool("update-docs", false, "write the tables of docs/configuration.md")

// keyTables are the tables of docs/configuration.md.
func keyTables() string {
	var b strings.Builder
	for _, s := range configSections() {
		fmt.Fprintf(&b, "### %s\n\n", s.name)
		for _, use := range []keyUse{keyUsed, keyHarmless, keyRefused} {
			var names []string
			for _, k := range s.keys {
				if k.use != use {
					continue
				}
				name := "`" + k.name + "`"
				for i, v := range k.except {
					data, _ := json.Marshal(v)
					name += []string{", unless `", " or `"}[min(i, 1)] + string(data) + "`"
				}
				names = append(names, name)
			}
			if names != nil {
				separator := ", "
				if use == keyRefused {
					separator = "; "
				}
				fmt.Fprintf(&b, "- %s: %s\n", use, strings.Join(names, separator))
			}
		}
		if s.open {
			b.WriteString("- others: harmless\n\n")
		} else {
			b.WriteString("- others: refused\n\n")
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func TestDocumentationHasEveryKey(t *testing.T) {
	const path, mark = "../docs/configuration.md", "## Keys\n\n"
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	before, after, found := strings.Cut(string(data), mark)
	require.True(t, found)
	if *updateDocs {
		require.NoError(t, os.WriteFile(path, []byte(before+mark+keyTables()), 0o644))
		return
	}
	require.Equal(t, keyTables(), after, "run go test ./vit -run Documentation -update-docs")
}

// sectionConfigs are files with one key in a section.
var sectionConfigs = map[string]string{
	openCLIPModel.name:      `{"model_cfg":{%s}}`,
	openCLIPVision.name:     `{"model_cfg":{"vision_cfg":{%s}}}`,
	openCLIPText.name:       `{"model_cfg":{"text_cfg":{%s}}}`,
	openCLIPActivation.name: `{"model_cfg":{"text_cfg":{"act_kwargs":{%s}}}}`,
	openCLIPNorm.name:       `{"model_cfg":{"vision_cfg":{"norm_kwargs":{%s}}}}`,
	openCLIPPreprocess.name: `{"model_cfg":{},"preprocess_cfg":{%s}}`,
	huggingFaceRoot.name:    `{"model_type":"clip",%s}`,
	huggingFaceVision.name:  `{"vision_config":{%s}}`,
	huggingFaceText.name:    `{"text_config_dict":{%s}}`,
	preprocessorRoot.name:   `{%s}`,
}

func TestEveryKeyIsHonouredOrRefused(t *testing.T) {
	for _, s := range configSections() {
		format, ok := sectionConfigs[s.name]
		if !ok {
			require.Equal(t, openCLIPRoot.name, s.name)
			continue
		}
		read := configSettings
		if s.name == preprocessorRoot.name {
			read = preprocessorSettings
		}
		try := func(key string, value any) error {
			data, err := json.Marshal(value)
			require.NoError(t, err)
			_, err = read(fmt.Appendf(nil, format, fmt.Sprintf("%q:%s", key, data)))
			return err
		}
		for _, k := range s.keys {
			require.NoError(t, try(k.name, nil), "%s: %s", s.name, k.name)
			switch k.use {
			case keyUsed: // of no type that a used key has
				err := try(k.name, []any{[]any{}, map[string]any{"x": "y"}})
				require.ErrorIs(t, err, ErrConfig, "%s: %s", s.name, k.name)
				require.ErrorContains(t, err, k.name)
			case keyHarmless:
				require.NoError(t, try(k.name, map[string]any{"any": 1}), "%s: %s", s.name, k.name)
			case keyRefused:
				for _, v := range k.except {
					require.NoError(t, try(k.name, v), "%s: %s", s.name, k.name)
				}
				err := try(k.name, "what no version has")
				require.ErrorIs(t, err, ErrConfig, "%s: %s", s.name, k.name)
				require.ErrorContains(t, err, k.name)
			}
		}
		if err := try("future_key", 0.5); s.open {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, ErrConfig, s.name)
			require.ErrorContains(t, err, "future_key")
		}
	}
}

// configured is a small model beside configuration files.
func configured(t testing.TB, a architecture, config, preprocessor string, opts ...Option) (*CLIP, error) {
	f, err := weights.OpenFS(folder(t, a, config, preprocessor), ".")
	require.NoError(t, err)
	defer f.Close()
	return Load(f, opts...)
}

func TestContradictions(t *testing.T) {
	for _, c := range []struct{ config, key string }{
		{`{"model_cfg":{"embed_dim":9}}`, "embed_dim"},
		{`{"model_cfg":{"vision_cfg":{"width":32}}}`, "vision_cfg.width"},
		{`{"model_cfg":{"vision_cfg":{"layers":3}}}`, "vision_cfg.layers"},
		{`{"model_cfg":{"vision_cfg":{"layers":[1,1,1,1]}}}`, "vision_cfg.layers"},
		{`{"model_cfg":{"vision_cfg":{"patch_size":8}}}`, "vision_cfg.patch_size"},
		{`{"model_cfg":{"vision_cfg":{"patch_size":[4,8]}}}`, "vision_cfg.patch_size"},
		{`{"model_cfg":{"vision_cfg":{"mlp_ratio":2}}}`, "vision_cfg.mlp_ratio"},
		{`{"model_cfg":{"vision_cfg":{"image_size":224}}}`, "image_size"},
		{`{"model_cfg":{"text_cfg":{"vocab_size":49407}}}`, "text_cfg.vocab_size"},
		{`{"model_cfg":{"text_cfg":{"context_length":76}}}`, "text_cfg.context_length"},
		{`{"model_cfg":{"text_cfg":{"width":9}}}`, "text_cfg.width"},
		{`{"model_cfg":{"text_cfg":{"layers":9}}}`, "text_cfg.layers"},
		{`{"model_cfg":{"text_cfg":{"mlp_ratio":4.5}}}`, "text_cfg.mlp_ratio"},
		{`{"model_cfg":{"text_cfg":{"heads":3}}}`, "heads"},
		{`{"projection_dim":9,"model_type":"clip"}`, "projection_dim"},
		{`{"vision_config":{"num_channels":1}}`, "num_channels"},
		{`{"vision_config":{"intermediate_size":1}}`, "intermediate_size"},
		{`{"text_config":{"vocab_size":49409}}`, "vocab_size"},
		{`{"text_config":{"eos_token_id":49408}}`, "end token 49408"},
		{`{"text_config":{"eos_token_id":[1,2]}}`, "eos_token_id"},
		{`{"model_type":"siglip"}`, "model_type"},
		{`{"text_config":{"model_type":"bert"}}`, "model_type"},
	} {
		_, err := configured(t, small, c.config, "", Heads(2, 1))
		if c.key == "heads" {
			_, err = configured(t, small, c.config, "")
		}
		require.ErrorIs(t, err, ErrConfig, c.config)
		require.ErrorContains(t, err, c.key)
	}
	for _, p := range []struct{ preprocessor, key string }{
		{`{"resample":1}`, "resample"}, {`{"rescale_factor":0}`, "rescale_factor"}, {`{"rescale_factor":-1}`, "rescale_factor"},
		{`{"do_resize":false}`, "do_resize"}, {`{"size":{"longest_edge":16}}`, "size"}, {`{"size":{"height":16}}`, "size"},
		{`{"size":16,"crop_size":20}`, "crop_size"}, {`{"size":{"height":20,"width":16},"crop_size":16}`, "size"},
		{`{"image_mean":[1,2]}`, "image_mean"}, {`{"do_normalize":1}`, "do_normalize"}, {`{"size":-3}`, "size"},
	} {
		_, err := configured(t, small, "", p.preprocessor, Heads(2, 1))
		require.ErrorIs(t, err, ErrConfig, p.preprocessor)
		require.ErrorContains(t, err, p.key)
	}
}

// Which configurations leave CLIP's tokenizer right for a vocabulary of its size.
func TestTokenizerOfLargeVocabularies(t *testing.T) {
	larger := small
	larger.Vocab += 3
	for _, c := range []struct {
		a      architecture
		config string
		right  bool
	}{
		{small, "", true},
		{larger, "", true},
		{larger, `{"text_config":{"num_attention_heads":1,"eos_token_id":49407}}`, true},
		{small, `{"text_config":{"num_attention_heads":1,"eos_token_id":2}}`, true},
		{small, `{"text_config":{"num_attention_heads":1,"eos_token_id":20}}`, false},
		{small, `{"model_type":"metaclip_2","text_config":{"num_attention_heads":1}}`, false},
		{small, `{"model_cfg":{"text_cfg":{"hf_tokenizer_name":"openai/clip-vit-base-patch32"}}}`, true},
		{small, `{"model_cfg":{"text_cfg":{"hf_tokenizer_name":"bert-base-uncased"}}}`, false},
		{small, `{"model_cfg":{"text_cfg":{"tokenizer_kwargs":{"clean":"canonicalize"}}}}`, false},
		{small, `{"model_cfg":{"text_cfg":{"tokenizer_kwargs":{}}}}`, true},
		{small, `{"model_cfg":{"text_cfg":{"tokenizer_mode":"canonicalize"}}}`, false},
		{small, `{"model_cfg":{"text_cfg":{"pool_type":"eos"}}}`, false},
		{small, `{"model_cfg":{"text_cfg":{"pool_type":"eos","eos_id":49407}}}`, true},
	} {
		m, err := configured(t, c.a, c.config, "", Heads(2, 1))
		require.NoError(t, err, c.config)
		_, err = m.EncodeText(t.Context(), []string{"a cat"})
		_, labels := m.EncodeLabels(t.Context(), []string{"cat"}, []string{"{}"})
		_, tokens := m.TextTokens(t.Context(), "a cat")
		for _, err := range []error{err, labels, tokens} {
			if c.right {
				require.NoError(t, err, c.config)
			} else {
				require.ErrorIs(t, err, ErrConfig, c.config)
				require.ErrorContains(t, err, "tokenizer", c.config)
			}
		}
		ids := []int32{49406, 320, 2368, 20, 2, 49407}
		_, err = m.EncodeTokens(t.Context(), [][]int32{ids})
		require.NoError(t, err, c.config)
	}
}
