package vit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/nlpodyssey/safetensors"
	"gonum.org/v1/gonum/blas/blas32"
)

var (
	// ErrTemplate reports a prompt template without {}, the place for the
	// label.
	ErrTemplate = errors.New("template")
	// ErrModel reports labels that another model encoded.
	ErrModel = errors.New("labels are of another model")
)

// EncodeLabels returns one unit row per label: the mean of the unit features of
// the label in each template, normalized again. A template contains {} where
// the label goes. All prompts form a prefix tree, so a common beginning is
// computed once. Source: xmed-lab/CLIP_Surgery
// clip/clip.py:encode_text_with_prompt_ensemble.
func (c *CLIP) EncodeLabels(ctx context.Context, labels, templates []string, opts ...TextOption) (blas32.General, error) {
	var none blas32.General
	if len(labels) == 0 {
		return none, fmt.Errorf("vit: %w: no labels", ErrEmpty)
	}
	if len(templates) == 0 {
		return none, fmt.Errorf("vit: %w: no templates", ErrEmpty)
	}
	for _, t := range templates {
		if !strings.Contains(t, "{}") {
			return none, fmt.Errorf("vit: %w %q has no {}", ErrTemplate, t)
		}
	}
	n := len(templates)
	seqs, err := c.tokenize(ctx, len(labels)*n, func(i int) string {
		return strings.ReplaceAll(templates[i%n], "{}", labels[i/n])
	})
	if err != nil {
		return none, err
	}
	out := nn.Matrix(make([]float32, len(labels)*c.config.Embed), len(labels), c.config.Embed)
	err = c.encodeSequences(ctx, seqs, opts, len(labels), func(i int, features []float32) {
		row := out.Data[i/n*out.Stride:][:out.Cols]
		addUnit(row, features, 1/float32(n))
		if i%n == n-1 {
			mean := append([]float32(nil), row...)
			clear(row)
			addUnit(row, mean, 1)
		}
	})
	if err != nil {
		return none, err
	}
	return out, nil
}

// addUnit adds w times x divided by its norm to dst; nothing, if x is zero.
func addUnit(dst, x []float32, w float32) {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	if sum == 0 {
		return
	}
	w /= float32(math.Sqrt(sum))
	for i, v := range x {
		dst[i] += float32(w * v)
	}
}

// Labels is an encoded vocabulary, which an application computes once and
// saves.
type Labels struct {
	Names    []string
	Features blas32.General // a unit row per name, as EncodeLabels returns
	// Templates and Model are digests of the templates and of the text tower.
	Templates, Model string
}

// Labels encodes names as EncodeLabels does.
func (c *CLIP) Labels(ctx context.Context, names, templates []string, opts ...TextOption) (*Labels, error) {
	features, err := c.EncodeLabels(ctx, names, templates, opts...)
	if err != nil {
		return nil, err
	}
	return &Labels{
		Names:     append([]string(nil), names...),
		Features:  features,
		Templates: TemplatesDigest(templates),
		Model:     c.digest,
	}, nil
}

// TemplatesDigest is the Templates field of labels encoded with the templates.
func TemplatesDigest(templates []string) string {
	h := sha256.New()
	for _, t := range templates {
		fmt.Fprintf(h, "%d %s\n", len(t), t)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// The parts of a saved label set: one tensor, and metadata.
const (
	labelsFormat    = "clipsurgery labels 1"
	labelsTensor    = "features"
	labelsNames     = "names" // JSON array
	labelsTemplates = "templates_sha256"
	labelsModel     = "model_sha256"
	labelsDigest    = "sha256" // of all the others
)

// sum is the digest of everything that is saved; names are the JSON array.
func (l *Labels) sum(names string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %q %q %q %d %d\n", labelsFormat, names, l.Templates, l.Model, l.Features.Rows, l.Features.Cols)
	var buf []byte
	for i := range l.Features.Rows {
		buf = appendFloats(buf[:0], l.Features.Data[i*l.Features.Stride:][:l.Features.Cols])
		h.Write(buf)
	}
	return digestString(h)
}

func appendFloats(dst []byte, x []float32) []byte {
	for _, v := range x {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
	}
	return dst
}

// check reports labels that cannot be saved.
func (l *Labels) check() error {
	switch {
	case l == nil || len(l.Names) == 0:
		return fmt.Errorf("vit: %w: no labels", ErrEmpty)
	case l.Features.Rows != len(l.Names):
		return fmt.Errorf("vit: %w: %d label names for %d rows of features", ErrModel, len(l.Names), l.Features.Rows)
	case l.Features.Cols < 1 || l.Features.Stride < l.Features.Cols || len(l.Features.Data) < (l.Features.Rows-1)*l.Features.Stride+l.Features.Cols:
		return fmt.Errorf("vit: %w: %d values of features, %d×%d by %d", ErrModel,
			len(l.Features.Data), l.Features.Rows, l.Features.Cols, l.Features.Stride)
	}
	return nil
}

// WriteTo writes the labels as safetensors: the tensor "features", and in the
// metadata the names, the digests of templates and model, and a digest of
// everything written.
func (l *Labels) WriteTo(w io.Writer) (int64, error) {
	if err := l.check(); err != nil {
		return 0, err
	}
	names, err := json.Marshal(l.Names)
	if err != nil {
		return 0, err
	}
	var data []byte
	for i := range l.Features.Rows {
		data = appendFloats(data, l.Features.Data[i*l.Features.Stride:][:l.Features.Cols])
	}
	features, err := safetensors.NewTensorView(safetensors.F32,
		[]uint64{uint64(l.Features.Rows), uint64(l.Features.Cols)}, data)
	if err != nil {
		return 0, err
	}
	buf, err := safetensors.Serialize(map[string]safetensors.TensorView{labelsTensor: features}, map[string]string{
		"format":        labelsFormat,
		labelsNames:     string(names),
		labelsTemplates: l.Templates,
		labelsModel:     l.Model,
		labelsDigest:    l.sum(string(names)),
	})
	if err != nil {
		return 0, err
	}
	n, err := w.Write(buf)
	return int64(n), err
}

// Save writes the labels to a file, as WriteTo does. An existing file is
// replaced when the new one is complete and on disk; after an error it is
// unchanged.
func (l *Labels) Save(path string) (err error) {
	if err := l.check(); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = l.WriteTo(f)
	if err == nil {
		err = errors.Join(f.Chmod(modeOf(path)), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// modeOf is the permission bits of a file that is there, or of a new one.
func modeOf(path string) os.FileMode {
	if info, err := os.Stat(path); err == nil {
		return info.Mode().Perm()
	}
	return 0o644
}

// OpenLabels reads labels from a file that [Labels.Save] wrote. Labels of
// another model are [ErrModel]; other errors are those of [weights.Open].
func (c *CLIP) OpenLabels(path string) (*Labels, error) {
	if err := c.loaded(); err != nil {
		return nil, err
	}
	f, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return c.LoadLabels(f)
}

// LoadLabels reads labels that [Labels.WriteTo] wrote. Data that were changed
// since are [weights.ErrFormat], and so are labels without a digest, as earlier
// versions wrote them. Labels of another model are [ErrModel].
func (c *CLIP) LoadLabels(f *weights.File) (*Labels, error) {
	if err := c.loaded(); err != nil {
		return nil, err
	}
	if f == nil {
		return nil, fmt.Errorf("vit: %w: no file of labels", weights.ErrFormat)
	}
	meta := f.Metadata()
	if meta["format"] != labelsFormat {
		return nil, fmt.Errorf("vit: %w: format is %.60q, not %q: encode the labels again", weights.ErrFormat, meta["format"], labelsFormat)
	}
	l := &Labels{Templates: meta[labelsTemplates], Model: meta[labelsModel]}
	if err := json.Unmarshal([]byte(meta[labelsNames]), &l.Names); err != nil {
		return nil, fmt.Errorf("vit: %w: names: %w", weights.ErrFormat, err)
	}
	data, err := f.Float32(labelsTensor, len(l.Names), -1)
	if err != nil {
		return nil, err
	}
	shape, _ := f.Shape(labelsTensor)
	l.Features = nn.Matrix(data, shape[0], shape[1])
	if meta[labelsDigest] != l.sum(meta[labelsNames]) {
		return nil, fmt.Errorf("vit: %w: the digest of the labels does not match: the data are damaged", weights.ErrFormat)
	}
	if l.Model != c.digest || l.Features.Cols != c.config.Embed {
		return nil, fmt.Errorf("vit: %w: its digest is %.12s, this one's %.12s", ErrModel, l.Model, c.digest)
	}
	return l, nil
}
