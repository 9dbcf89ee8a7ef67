package vit

import (
	"bytes"
	"context"
	"errors"
	"image"
	"testing"
	"testing/fstest"

	"github.com/clipsurgery/clipsurgery/internal/hostile"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

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

// FuzzShapes changes the tensors of a small model.
func FuzzShapes(f *testing.F) {
	tensors := micro.tensors()
	hostile.Add(f, len(tensors))
	f.Fuzz(func(t *testing.T, changes []byte) {
		c, err := Load(hostile.File(t, tensors, changes))
		if err != nil {
			hostile.RequireKnown(t, err, ErrConfig)
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
			hostile.RequireKnown(t, err, ErrConfig)
			return
		}
		use(t, c)
	})
}
