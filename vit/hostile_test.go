package vit

import (
	"bytes"
	"context"
	"errors"
	"image"
	"testing"
	"testing/fstest"

	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// requireKnown: whatever is wrong with a checkpoint has one of these kinds.
func requireKnown(t *testing.T, err error) {
	t.Helper()
	for _, kind := range []error{ErrConfig, weights.ErrMissing, weights.ErrSurplus, weights.ErrShape, weights.ErrDType, weights.ErrNotFinite, weights.ErrFormat} {
		if errors.Is(err, kind) {
			return
		}
	}
	t.Fatalf("untyped error: %v", err)
}

// use runs a model that loaded, whatever comes out.
func use(t *testing.T, c *CLIP) {
	for _, plan := range []Plan{{}, {Blocks: 1, Beside: true, Attention: []Term{{Query: V, Key: V}}, WithoutFFN: true}} {
		if _, err := c.EncodeImage(context.Background(), image.NewGray(image.Rect(0, 0, 20, 12)), Operate(plan)); err != nil {
			require.True(t, errors.Is(err, ErrSize) || errors.Is(err, ErrPlan), "%v", err)
		}
	}
	if _, err := c.EncodeTokens(context.Background(), [][]int32{{0, 1}}); err != nil {
		require.True(t, errors.Is(err, ErrToken), "%v", err)
	}
}

// FuzzShapes changes the tensors of a small model: three bytes each say which
// one, which of its dimensions, and what becomes of it.
func FuzzShapes(f *testing.F) {
	all := micro.tensors()
	f.Add([]byte{})
	for i := range byte(len(all)) {
		f.Add([]byte{i, 0, 0})
		f.Add([]byte{i, 1, 7, i, 0, 9, i, 2, 3})
		f.Add([]byte{i, 200, 0})
		f.Add([]byte{i, 100, 1})
	}
	f.Fuzz(func(t *testing.T, changes []byte) {
		var tensors []weights.TensorInfo
		gone := map[int]bool{}
		changed := micro.tensors()
		for ; len(changes) >= 3; changes = changes[3:] {
			i, axis, value := int(changes[0])%len(changed), int(changes[1]), int(changes[2])
			switch c := &changed[i]; {
			case axis >= 200:
				gone[i] = true
			case axis >= 100:
				c.Shape = append(c.Shape, value%3)
			case len(c.Shape) > 0:
				c.Shape[axis%len(c.Shape)] = value % 40
			default:
				c.DType = weights.DType(value % 13)
			}
		}
		for i, c := range changed {
			if !gone[i] && len(c.Shape) <= 8 && size(c.Shape) <= 1<<18 {
				tensors = append(tensors, c)
			}
		}
		file, err := weights.FromFunc(tensors, func(_ string, dst []float32) error {
			for i := range dst {
				dst[i] = float32(i%7-3) / 8
			}
			return nil
		})
		require.NoError(t, err)
		c, err := Load(file)
		if err != nil {
			requireKnown(t, err)
			return
		}
		use(t, c)
	})
}

// FuzzConfig puts anything beside the weights of a small model.
func FuzzConfig(f *testing.F) {
	var b bytes.Buffer
	require.NoError(f, weights.Write(f.Context(), &b, micro.file(f), weights.F32))
	for _, config := range []string{
		`{"model_cfg":{"vision_cfg":{"head_width":32},"text_cfg":{"heads":1}},"preprocess_cfg":{"mean":[0.5,0.5,0.5],"std":[0.25,0.5,0.5],"interpolation":"bilinear"}}`,
		`{"vision_config":{"num_attention_heads":1,"hidden_act":"gelu"},"text_config":{"num_attention_heads":2,"layer_norm_eps":1e-6}}`,
		`{"model_cfg":{"vision_cfg":{"head_width":-9223372036854775808}}}`, `{"vision_config_dict":{"num_attention_heads":1e3}}`, `[]`,
	} {
		f.Add([]byte(config), []byte(`{"image_mean":[0.5,0.5,0.5],"image_std":[1,1,1],"resample":2}`))
	}
	f.Fuzz(func(t *testing.T, config, preprocessor []byte) {
		file, err := weights.OpenFS(fstest.MapFS{
			"model.safetensors": {Data: b.Bytes()}, "config.json": {Data: config}, "preprocessor_config.json": {Data: preprocessor},
		}, ".")
		require.NoError(t, err)
		c, err := Load(file)
		if err != nil {
			requireKnown(t, err)
			return
		}
		use(t, c)
	})
}
