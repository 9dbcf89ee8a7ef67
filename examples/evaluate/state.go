package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/clipsurgery/clipsurgery/surgery/eval"
)

// state is what is done so far, and under which settings.
type state struct {
	Settings string                 `json:"settings"`
	Done     []string               `json:"done"`
	Scores   map[string]*eval.Score `json:"scores"`
	done     map[string]bool
}

func newState(data *dataset, ways []way) (*state, error) {
	var names []string
	s := &state{Scores: map[string]*eval.Score{}}
	for _, w := range ways {
		names = append(names, w.name)
		score, err := eval.NewScore(len(data.classes))
		if err != nil {
			return nil, err
		}
		s.Scores[w.name] = score
	}
	s.Settings = fmt.Sprintf("clip %q data %q classes %d ways %q size %d windows %s refine %v scale %v threshold %v templates %q",
		checkpoint.Name, data.name, len(data.classes), names, *size, windows, *refine, *scale, *threshold, templates.Path)
	return s, nil
}

func (s *state) isDone(name string) bool {
	if s.done == nil {
		s.done = map[string]bool{}
		for _, n := range s.Done {
			s.done[n] = true
		}
	}
	return s.done[name]
}

// restore reads what an earlier run has done, if there was one.
func (s *state) restore(path string) error {
	err := s.merge(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// merge adds the pictures of another run with the same settings.
func (s *state) merge(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var other state
	if err := json.Unmarshal(data, &other); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if other.Settings != s.Settings {
		return fmt.Errorf("%s is of a run with other settings: %s; now %s", path, other.Settings, s.Settings)
	}
	for _, name := range other.Done {
		if slices.Contains(s.Done, name) {
			return fmt.Errorf("%s: picture %s is counted twice", path, name)
		}
	}
	for name, score := range s.Scores {
		if other.Scores[name] == nil {
			return fmt.Errorf("%s has no scores of %s", path, name)
		}
		if err := score.Merge(other.Scores[name]); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	s.Done = append(s.Done, other.Done...)
	s.done = nil
	return nil
}

// save replaces the file in one step.
func (s *state) save(path string) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
