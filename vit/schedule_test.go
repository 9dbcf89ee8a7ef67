package vit

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Schedules of plans of every kind on a tower of six blocks, as they are drawn.
func TestSchedule(t *testing.T) {
	surgery := Plan{Blocks: 3, Beside: true, WithoutFFN: true, Attention: []Term{{Query: V, Key: V}}}
	instead := Plan{Blocks: 2, Attention: []Term{{Query: K, Key: K}}, Class: ClassOperated}
	watched := Plan{Blocks: 2, Attention: []Term{{Query: K, Key: K}}}
	earlier := Plan{Blocks: 2, Attention: []Term{{Query: Q, Key: K, Before: 1}}, Class: ClassOperated}
	far := Plan{Blocks: 1, Attention: []Term{{Query: Q, Key: K, Before: 1}, {Query: Q, Key: K, Before: 3}}}
	for _, c := range []struct {
		name  string
		plans []Plan
		want  string
	}{
		{"untouched", []Plan{{}}, "" +
			"0-5   project, finish all\n"},
		{"beside: the class row alone leaves the last block", []Plan{surgery}, "" +
			"0-2   project, finish all\n" +
			"3-4   project, shared 0, finish all\n" +
			"5     project, shared 0, finish class\n"},
		{"instead: nothing of the untouched rows after the first operated block", []Plan{instead}, "" +
			"0-3   project, finish all\n" +
			"4     project, shared 0, finish none\n" +
			"5     finish none, separate 0\n"},
		{"instead, with the untouched class row", []Plan{watched}, "" +
			"0-3   project, finish all\n" +
			"4     project, shared 0, finish all\n" +
			"5     project, finish class, separate 0\n"},
		{"projections of earlier blocks are kept", []Plan{earlier}, "" +
			"0-2   project, finish all\n" +
			"3     project, keep, finish all\n" +
			"4     project, keep, shared 0, finish none\n" +
			"5     finish none, separate 0\n"},
		{"terms of several blocks", []Plan{far}, "" +
			"0-1   project, finish all\n" +
			"2     project, keep, finish all\n" +
			"3     project, finish all\n" +
			"4     project, keep, finish all\n" +
			"5     project, shared 0, finish class\n"},
		{"raw CLIP beside surgery: the untouched rows are features too", []Plan{{}, surgery}, "" +
			"0-2   project, finish all\n" +
			"3-5   project, shared 1, finish all\n"},
		{"plans share the blocks before their first", []Plan{surgery, instead}, "" +
			"0-2   project, finish all\n" +
			"3     project, shared 0, finish all\n" +
			"4     project, shared 0 1, finish all\n" +
			"5     project, shared 0, finish class, separate 1\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			plans := make([]*Plan, len(c.plans))
			for i := range c.plans {
				plans[i] = &c.plans[i]
			}
			require.Equal(t, c.want, scheduleOf(plans, 6).String())
		})
	}
}
