package weights

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// header is what a safetensors file says of its tensors and of itself.
type header struct {
	tensors  []headerTensor
	metadata map[string]string
}

type headerTensor struct {
	name, dtype string
	shape       []uint64
	offsets     [2]uint64 // of the first byte and behind the last, in the data
}

// parseHeader reads a safetensors header in one pass. The grammar is the part of
// JSON that the format allows: an object of tensors, each an object of a dtype, a
// shape and data_offsets, and of __metadata__, an object of strings. Repeated
// keys and more of anything than the limits allow are errors, so that memory is
// bounded by the header's size.
//
// encoding/json and github.com/nlpodyssey/safetensors take repeated keys, fail on
// dtypes that they do not know, and need over a second for 100 MB.
func parseHeader(data []byte) (header, error) {
	h := header{metadata: map[string]string{}}
	if !utf8.Valid(data) {
		return h, fmt.Errorf("not UTF-8")
	}
	if len(data) == 0 || data[0] != '{' {
		return h, fmt.Errorf("does not begin with '{'")
	}
	p := headerParser{data: data}
	entries := 0
	count := func() error {
		if entries++; entries > maxTensors {
			return fmt.Errorf("more than %d entries", maxTensors)
		}
		return nil
	}
	err := p.object(func(name string) error {
		if len(name) > maxName {
			return fmt.Errorf("name of %d bytes", len(name))
		}
		if name == metadataKey {
			return p.object(func(key string) (err error) {
				if h.metadata[key], err = p.text(); err == nil {
					err = count()
				}
				return err
			})
		}
		t, err := p.tensor(name)
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		h.tensors = append(h.tensors, t)
		return count()
	})
	if err == nil && len(p.rest()) > 0 {
		err = fmt.Errorf("%d bytes behind the object", len(p.rest()))
	}
	return h, err
}

// headerParser reads a header from left to right.
type headerParser struct {
	data    []byte
	at      int
	numbers int
}

func (p *headerParser) tensor(name string) (headerTensor, error) {
	t := headerTensor{name: name}
	found := 0
	err := p.object(func(key string) (err error) {
		found++
		switch key {
		case "dtype":
			if t.dtype, err = p.text(); len(t.dtype) > maxName {
				err = fmt.Errorf("dtype of %d bytes", len(t.dtype))
			}
		case "shape":
			t.shape, err = p.list()
		case "data_offsets":
			var offsets []uint64
			if offsets, err = p.list(); err == nil && len(offsets) != 2 {
				err = fmt.Errorf("%d data_offsets, want 2", len(offsets))
			}
			copy(t.offsets[:], offsets)
		default:
			err = fmt.Errorf("unexpected key %.80q", key)
		}
		return err
	})
	if err == nil && found != 3 {
		err = fmt.Errorf("want dtype, shape and data_offsets, got %d of them", found)
	}
	return t, err
}

// object reads an object, whose values f reads.
func (p *headerParser) object(f func(key string) error) error {
	if err := p.expect('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for first := true; ; first = false {
		if first && p.next() == '}' {
			break
		}
		key, err := p.text()
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("key %.80q repeated", key)
		}
		seen[key] = true
		if err := p.expect(':'); err != nil {
			return err
		}
		if err := f(key); err != nil {
			return err
		}
		if p.next() == '}' {
			break
		}
		if err := p.expect(','); err != nil {
			return err
		}
	}
	return p.expect('}')
}

// list reads a list of numbers, of which there may be as many as dimensions.
func (p *headerParser) list() ([]uint64, error) {
	if err := p.expect('['); err != nil {
		return nil, err
	}
	var all []uint64
	for p.next() != ']' {
		if len(all) > 0 {
			if err := p.expect(','); err != nil {
				return nil, err
			}
		}
		if p.numbers++; len(all) == maxDimensions || p.numbers > maxNumbers {
			return nil, fmt.Errorf("more than %d numbers in a list, or %d in all", maxDimensions, maxNumbers)
		}
		n, err := p.number()
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, p.expect(']')
}

func (p *headerParser) number() (uint64, error) {
	rest := p.rest()
	digits := 0
	for digits < len(rest) && rest[digits]-'0' < 10 {
		digits++
	}
	if digits > 1 && rest[0] == '0' {
		digits = 0 // JSON has no leading zeros
	}
	p.at += digits
	n, err := strconv.ParseUint(string(rest[:min(digits, 21)]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("byte %d: want an unsigned integer of 64 bits", p.at)
	}
	return n, nil
}

// text reads a string.
func (p *headerParser) text() (string, error) {
	if err := p.expect('"'); err != nil {
		return "", err
	}
	start, escaped := p.at, false
	for ; p.at < len(p.data) && p.data[p.at] != '"'; p.at++ {
		switch c := p.data[p.at]; {
		case c < ' ':
			return "", fmt.Errorf("byte %d: control character in a string", p.at)
		case c == '\\':
			escaped = true
			p.at++
		}
	}
	if p.at >= len(p.data) {
		return "", fmt.Errorf("ends inside a string")
	}
	raw := p.data[start:p.at]
	p.at++
	if !escaped {
		return string(raw), nil
	}
	var s string
	err := json.Unmarshal(p.data[start-1:p.at], &s)
	return s, err
}

// next is the next byte that is no space, 0 at the end.
func (p *headerParser) next() byte {
	if rest := p.rest(); len(rest) > 0 {
		return rest[0]
	}
	return 0
}

// rest skips spaces.
func (p *headerParser) rest() []byte {
	for p.at < len(p.data) && (p.data[p.at] == ' ' || p.data[p.at] == '\t' || p.data[p.at] == '\r' || p.data[p.at] == '\n') {
		p.at++
	}
	return p.data[p.at:]
}

func (p *headerParser) expect(c byte) error {
	switch got := p.next(); {
	case got == c:
		p.at++
		return nil
	case got == 0 && p.at == len(p.data):
		return fmt.Errorf("ends where %q should be", c)
	default:
		return fmt.Errorf("byte %d: want %q, got %q", p.at, c, got)
	}
}
