package surgery

import (
	"fmt"
	"image"
	"math"

	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/vit"
	"gonum.org/v1/gonum/blas/blas32"
)

// Scores says how strongly each cell of a picture's grid is related to each
// text: (1 + cells) × texts, row 0 for the class token, then the grid row by
// row. The scale depends on the function that computed them.
type Scores struct {
	blas32.General
	Grid   image.Point     // columns, rows
	Size   image.Point     // original picture, pixels
	Region image.Rectangle // part of the picture that the grid covers

	kernel *simd.Kernel // of the model that made the features; nil of scores made by hand
}

// k is the kernel that scores are computed with.
func (s *Scores) k() simd.Kernel {
	if s.kernel == nil {
		return simd.Best()
	}
	return *s.kernel
}

// Class returns the scores of the class token, one per text. For features of a
// ViT, operated or not, this is plain CLIP's view of the whole picture. On a
// ResNet a plan changes the class token too, so take it from plain features.
func (s *Scores) Class() []float32 {
	out := make([]float32, s.Cols)
	copy(out, s.Data[:s.Cols])
	return out
}

// cells returns the scores of one text over the grid, without the class token.
func (s *Scores) cells(label int) ([]float32, error) {
	if label < 0 || label >= s.Cols {
		return nil, fmt.Errorf("surgery: %w: %d of %d", ErrLabel, label, s.Cols)
	}
	if n := s.Grid.X * s.Grid.Y; s.Grid.X < 1 || s.Grid.Y < 1 || s.Rows != 1+n {
		return nil, fmt.Errorf("surgery: %w: %d rows for a grid of %d×%d", ErrGrid, s.Rows, s.Grid.X, s.Grid.Y)
	}
	out := make([]float32, s.Rows-1)
	for i := range out {
		out[i] = s.Data[(1+i)*s.Stride+label]
	}
	return out, nil
}

// Similarity is the cosine of every image row with every text: it gives raw
// maps from plain features, and "architecture surgery only" from operated ones.
// text is texts × D; rows of both are normalized inside.
func Similarity(f *vit.Features, text blas32.General) (*Scores, error) {
	t, err := unitRows(text)
	if err != nil {
		return nil, fmt.Errorf("surgery: %w", err)
	}
	return project(f, t)
}

// FeatureSurgery removes from each label what all labels share (section 3.3 of
// the paper, for a set of labels). With S the cosines and C labels,
//
//	w = C·softmax(2·S[class]),  S′[i,c] = w[c]·S[i,c] − mean over c′ of w[c′]·S[i,c′]
//
// which is the reference's sum over a rows × labels × D tensor, multiplied
// out. A single label gives zeros: use [RemoveRedundant] for that.
// Source: xmed-lab/CLIP_Surgery clip/clip.py:clip_feature_surgery.
func FeatureSurgery(f *vit.Features, text blas32.General) (*Scores, error) {
	s, err := Similarity(f, text)
	if err != nil {
		return nil, err
	}
	weights := s.Class()
	for c := range weights {
		weights[c] *= 2
	}
	s.k().Softmax(weights)
	for c := range weights {
		weights[c] *= float32(len(weights))
	}
	for i := range s.Rows {
		row := s.Data[i*s.Stride : i*s.Stride+s.Cols]
		var sum float64
		for c, w := range weights {
			row[c] *= w
			sum += float64(row[c])
		}
		mean := float32(sum / float64(len(row)))
		for c := range row {
			row[c] -= mean
		}
	}
	return s, nil
}

// RemoveRedundant subtracts from each text a redundant feature, in the paper
// that of the empty string in all templates: S′ = F·(T − r)ᵀ on unit rows.
// redundant has one row, or one for each text. Unlike [FeatureSurgery] it works
// for a single text.
func RemoveRedundant(f *vit.Features, text, redundant blas32.General) (*Scores, error) {
	t, err := unitRows(text)
	if err != nil {
		return nil, fmt.Errorf("surgery: %w", err)
	}
	r, err := unitRows(redundant)
	if err != nil {
		return nil, fmt.Errorf("surgery: redundant: %w", err)
	}
	if r.Cols != t.Cols || r.Rows != 1 && r.Rows != t.Rows {
		return nil, fmt.Errorf("surgery: %w: %d×%d redundant features for %d×%d texts", ErrText, r.Rows, r.Cols, t.Rows, t.Cols)
	}
	for i := range t.Rows {
		away := r.Data[i%r.Rows*r.Stride:]
		row := t.Data[i*t.Stride : i*t.Stride+t.Cols]
		for j := range row {
			row[j] -= away[j]
		}
	}
	return project(f, t)
}

// project multiplies the unit rows of f with the rows of text.
func project(f *vit.Features, text blas32.General) (*Scores, error) {
	if f == nil {
		return nil, fmt.Errorf("surgery: %w: the image features are nil", ErrGrid)
	}
	if f.Tokens.Cols != text.Cols {
		return nil, fmt.Errorf("surgery: %w: %d columns, image features have %d", ErrText, text.Cols, f.Tokens.Cols)
	}
	if n := f.Grid.X * f.Grid.Y; f.Tokens.Rows != 1+n {
		return nil, fmt.Errorf("surgery: %w: %d rows for a grid of %d×%d", ErrGrid, f.Tokens.Rows, f.Grid.X, f.Grid.Y)
	}
	rows, err := unitRows(f.Tokens)
	if err != nil {
		return nil, fmt.Errorf("surgery: image features: %w", err)
	}
	out := matrix(f.Tokens.Rows, text.Rows)
	k := f.Kernel()
	k.MatMul(nil, out, rows, simd.Pack(k, text), simd.Epilogue{})
	return &Scores{General: out, Grid: f.Grid, Size: f.Size, Region: f.Region, kernel: &k}, nil
}

// unitRows returns a copy of m with rows of length one.
func unitRows(m blas32.General) (blas32.General, error) {
	if m.Rows < 1 || m.Cols < 1 {
		return blas32.General{}, fmt.Errorf("%w: %d×%d", ErrText, m.Rows, m.Cols)
	}
	if m.Stride < m.Cols || len(m.Data) < (m.Rows-1)*m.Stride+m.Cols {
		return blas32.General{}, fmt.Errorf("%w: %d×%d with stride %d in %d values", ErrText, m.Rows, m.Cols, m.Stride, len(m.Data))
	}
	out := matrix(m.Rows, m.Cols)
	for i := range m.Rows {
		src, dst := m.Data[i*m.Stride:][:m.Cols], out.Data[i*out.Stride:][:m.Cols]
		var sq float64
		for _, v := range src {
			sq += float64(v) * float64(v)
		}
		if !(sq > 0) || math.IsInf(sq, 0) {
			return blas32.General{}, fmt.Errorf("%w: row %d has length %v", ErrText, i, math.Sqrt(sq))
		}
		inv := 1 / math.Sqrt(sq)
		for j, v := range src {
			dst[j] = float32(float64(v) * inv)
		}
	}
	return out, nil
}

func matrix(rows, cols int) blas32.General {
	return blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: make([]float32, rows*cols)}
}
