package weights

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Model describes which tensors a model has and how checkpoints name them. In
// patterns, # stands for a number and a final * for any rest.
type Model struct {
	// Name is what messages call the model.
	Name string
	// Tensors are patterns of the model's own names, enough to tell its
	// checkpoints from others.
	Tensors []string
	// Layouts are the published ways to name and store them. If several fit a
	// file equally well, the first counts.
	Layouts []Layout
}

// Layout is a published way to name and store the tensors of a model.
type Layout struct {
	// Name is what messages call the layout.
	Name string
	// Rows pairs the model's own names with the file's. The first row that
	// matches is taken; names without a row are the same in both. Both patterns
	// of a row have the same # and *, in the same order.
	Rows []Row
	// Known are patterns of tensors that published files contain but models do
	// not use. In these patterns * stands at the beginning or at the end.
	Known []string
	// Configs are the configuration files that belong to the layout, in order
	// of preference.
	Configs []string
}

// Row pairs a model's own name with a file's.
type Row struct {
	Own, File string
	How       Arrangement
}

// Arrangement is how a file stores a tensor.
type Arrangement uint8

const (
	Same       Arrangement = iota // as the model wants it
	Transposed                    // a matrix with its axes exchanged
	QKV                           // queries, keys and values apart: @ in the file's name is q, k or v
	Four                          // four parts: @ in the file's name is 0, 1, 2 or 3
)

// fit is how well a layout fits a file, under a beginning of names.
type fit struct {
	layout *Layout
	prefix string
	score  int // tensors of the model
}

// maxPrefix bounds the parts of a beginning that names are looked at for.
const maxPrefix = 8

// fits returns the layout and the beginning of names under which a file has the
// most tensors of the model. Training programs put beginnings such as "module."
// or "model.", one behind the other, before the names; whatever they are called,
// the names behind them decide. Of two that fit alike, one that is not an average
// of weights ("ema") counts; otherwise the file is ambiguous, unless the longer
// beginning is only a part of the model's own names that reads like the whole, as
// the blocks of CLIP's image tower read like those of its text tower. Where
// there are few tensors of the model and more than three times as many others
// under a beginning, the likeness is by chance.
func (m *Model) fits(names []string) (fit, error) {
	var best []fit // of the highest score, under one layout
	for i := range m.Layouts {
		l := &m.Layouts[i]
		for prefix, score := range m.scores(l, names) {
			switch {
			case len(best) == 0 || score > best[0].score:
				best = []fit{{l, prefix, score}}
			case score == best[0].score && l == best[0].layout:
				best = append(best, fit{l, prefix, score})
			}
		}
	}
	none := func() (fit, error) {
		return fit{}, fmt.Errorf("%w: no %s: the file holds %s", ErrMissing, m.Name, beginning(names))
	}
	if len(best) == 0 {
		return none()
	}
	slices.SortFunc(best, func(a, b fit) int {
		if x, y := averaged(a.prefix), averaged(b.prefix); x != y {
			if x {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(len(a.prefix), len(b.prefix)), cmp.Compare(a.prefix, b.prefix))
	})
	first := best[0]
	under := 0
	for _, name := range names {
		if strings.HasPrefix(name, first.prefix) {
			under++
		}
	}
	if first.score < fewTensors && 4*first.score < under {
		return none()
	}
	for _, other := range best[1:] {
		if averaged(other.prefix) == averaged(first.prefix) && m.apart(names, other, first) {
			return fit{}, fmt.Errorf("%w: two models that could be the %s, under %.80q and under %.80q", ErrFormat, m.Name, first.prefix, other.prefix)
		}
	}
	return first, nil
}

// fewTensors is as many tensors of a model as other networks may have by chance.
const fewTensors = 16

// apart reports whether a tensor that counts for one fit does not for the other.
func (m *Model) apart(names []string, one, other fit) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		a, ok := strings.CutPrefix(name, one.prefix)
		b, under := strings.CutPrefix(name, other.prefix)
		return ok && m.counts(one.layout, a) && !(under && m.counts(other.layout, b))
	})
}

// counts reports whether the file's name behind a beginning is of a tensor of the
// model.
func (m *Model) counts(l *Layout, name string) bool { return !m.known(name) && m.owns(l.nameOf(name)) }

// scores counts the tensors of the model under every beginning of names.
func (m *Model) scores(l *Layout, names []string) map[string]int {
	heads, scores := m.heads(l), map[string]int{}
	for _, name := range names {
		at := 0
		for range maxPrefix {
			rest := name[at:]
			head, _, more := strings.Cut(rest, ".")
			if heads[head] && m.counts(l, rest) {
				scores[name[:at]]++
			}
			if !more {
				break
			}
			at += len(head) + 1
		}
	}
	return scores
}

// averaged reports whether a beginning tells of averaged weights.
func averaged(prefix string) bool {
	return slices.Contains(strings.FieldsFunc(prefix, func(r rune) bool { return r == '.' || r == '_' }), "ema")
}

// heads are the first parts of the names that a layout has for the model's
// tensors.
func (m *Model) heads(l *Layout) map[string]bool {
	heads := map[string]bool{}
	add := func(pattern string) {
		head, _, _ := strings.Cut(pattern, ".")
		heads[head] = true
	}
	for _, r := range l.Rows {
		add(r.File)
	}
	for _, pattern := range m.Tensors {
		add(pattern)
	}
	return heads
}

// known reports whether a layout knows a name as one that no model uses.
func (m *Model) known(name string) bool {
	for i := range m.Layouts {
		if m.Layouts[i].known(name) {
			return true
		}
	}
	return false
}

// owns reports whether a name is of a tensor of the model.
func (m *Model) owns(name string) bool {
	for _, pattern := range m.Tensors {
		if _, ok := translate(pattern, pattern, name); ok {
			return true
		}
	}
	return false
}

// known reports whether a file's name is of a tensor that no model uses.
func (l *Layout) known(name string) bool {
	for _, pattern := range l.Known {
		suffix, behind := strings.CutPrefix(pattern, "*")
		prefix, before := strings.CutSuffix(pattern, "*")
		if pattern == name || behind && strings.HasSuffix(name, suffix) || before && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// nameOf returns the view's name of a file's tensor.
func (l *Layout) nameOf(file string) string {
	for _, r := range l.Rows {
		for _, pattern := range r.files() {
			if name, ok := translate(pattern, r.Own, file); ok {
				return name
			}
		}
	}
	return file
}

// partsOf returns the file's names of a view's tensor, and whether it is
// stored transposed.
func (l *Layout) partsOf(name string) (parts []string, turned bool) {
	for _, r := range l.Rows {
		for _, pattern := range r.files() {
			if part, ok := translate(r.Own, pattern, name); ok {
				parts = append(parts, part)
			}
		}
		if parts != nil {
			return parts, r.How == Transposed
		}
	}
	return []string{name}, false
}

// files are the patterns of the file's names.
func (r *Row) files() []string {
	var parts string
	switch r.How {
	case QKV:
		parts = "qkv"
	case Four:
		parts = "0123"
	default:
		return []string{r.File}
	}
	var all []string
	for _, part := range parts {
		all = append(all, strings.Replace(r.File, "@", string(part), 1))
	}
	return all
}

// translate matches a name with a pattern and puts what # and * stand for into
// another.
func translate(from, to, name string) (string, bool) {
	var out strings.Builder
	for {
		at := strings.IndexAny(from, "#*")
		if at < 0 {
			out.WriteString(to)
			return out.String(), from == name
		}
		if !strings.HasPrefix(name, from[:at]) {
			return "", false
		}
		wild := from[at]
		name = name[at:]
		n := len(name)
		if wild == '#' {
			n -= len(strings.TrimLeft(name, "0123456789"))
		}
		if n == 0 {
			return "", false
		}
		place := strings.IndexByte(to, wild)
		out.WriteString(to[:place])
		out.WriteString(name[:n])
		from, to, name = from[at+1:], to[place+1:], name[n:]
	}
}
