package sam

import (
	"context"
	"image"
	"testing"
	"time"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/stretchr/testify/require"
)

// TestCanceled: a context that has ended ends a call before it touches the
// picture, and one that ends on the way leaves nothing half done behind.
func TestCanceled(t *testing.T) {
	m, err := Load(procedural(t, micro()), WithWorkers(2))
	require.NoError(t, err)
	gray := image.NewGray(image.Rect(0, 0, 20, 12))
	e, err := m.Encode(t.Context(), gray)
	require.NoError(t, err)
	want, err := m.Predict(t.Context(), e, []Prompt{{}})
	require.NoError(t, err)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = m.Encode(ended, trap{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = m.Everything(ended, trap{})
	require.ErrorIs(t, err, context.Canceled)
	fresh, err := m.Encode(t.Context(), gray)
	require.NoError(t, err)
	_, err = m.Predict(ended, fresh, []Prompt{{}})
	require.ErrorIs(t, err, context.Canceled)

	// What all prompts share is not kept where its computation was cut short.
	r := m.call(t)
	r.Context = ended
	_, err = m.sharedSide(r, fresh)
	require.ErrorIs(t, err, context.Canceled)
	got, err := m.Predict(t.Context(), fresh, []Prompt{{}})
	require.NoError(t, err)
	require.Equal(t, want[0].LowRes, got[0].LowRes)

	// Whenever it ends, there is an error or the right answer.
	for i := range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*5*time.Microsecond)
		got, err := m.Encode(ctx, gray)
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			continue
		}
		require.Equal(t, e.Features(), got.Features())
	}
}

// TestCancelFullSize: at full size an encoder that is canceled stops within a
// part of a block, wherever it is: windows, global attention, products or neck.
func TestCancelFullSize(t *testing.T) {
	golden.Long(t)
	const blocks = 3 // two with windows, one global
	c := vitB.config()
	c.ViT.Depth, c.ViT.Windows, c.ViT.Tables = blocks, c.ViT.Windows[:blocks], c.ViT.Tables[:blocks]
	m, err := Load(procedural(t, c))
	require.NoError(t, err)
	img := image.NewGray(image.Rect(0, 0, 1024, 768))
	start := time.Now()
	_, err = m.Encode(t.Context(), img)
	require.NoError(t, err)
	whole := time.Since(start)
	var worst time.Duration
	for i := range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		var ended time.Time
		timer := time.AfterFunc(whole*time.Duration(i)/10, func() { ended = time.Now(); cancel() })
		_, err := m.Encode(ctx, img)
		returned := time.Now()
		if timer.Stop() {
			require.NoError(t, err)
			continue
		}
		<-ctx.Done()
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			worst = max(worst, returned.Sub(ended))
		}
	}
	t.Logf("encoded in %v; at worst, returned %v after the end", whole, worst)
	require.Less(t, worst, whole/2, "long before the end")
}
