package main

import (
	"errors"
	"fmt"

	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/vit"
	"gonum.org/v1/gonum/blas/blas32"
)

// way is a plan with a way of comparing features with texts.
type way struct {
	name    string
	plan    int // index: ways of one plan share its features
	compare compare
}

type compare func(f *vit.Features, text, empty blas32.General) (*surgery.Scores, error)

func waysOf(plans []surgery.NamedPlan, scores []string) ([]way, error) {
	comparisons := map[string]struct {
		suffix string
		compare
	}{
		"cosine": {"", func(f *vit.Features, text, _ blas32.General) (*surgery.Scores, error) {
			return surgery.Similarity(f, text)
		}},
		"surgery": {" + feature surgery", func(f *vit.Features, text, _ blas32.General) (*surgery.Scores, error) {
			return surgery.FeatureSurgery(f, text)
		}},
		"single": {" - empty text", surgery.RemoveRedundant},
	}
	var ways []way
	for i, p := range plans {
		for _, s := range scores {
			c, ok := comparisons[s]
			if !ok {
				return nil, fmt.Errorf("-scores %s: cosine, surgery or single", s)
			}
			ways = append(ways, way{p.Name + c.suffix, i, c.compare})
		}
	}
	if len(ways) == 0 {
		return nil, errors.New("-scores names no way of comparing")
	}
	return ways, nil
}

func plansNamed(names []string) ([]surgery.NamedPlan, error) {
	if len(names) == 0 {
		return surgery.Plans(), nil
	}
	var all []surgery.NamedPlan
	for _, name := range names {
		p, err := surgery.PlanNamed(name)
		if err != nil {
			return nil, err
		}
		all = append(all, surgery.NamedPlan{Name: name, Plan: p})
	}
	return all, nil
}
