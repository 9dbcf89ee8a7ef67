package vit

import "slices"

// tree is a set of token sequences with every shared prefix stored once. Its
// nodes, one per distinct prefix, are numbered depth first: the ancestors of a
// node are the last nodes before it of each smaller depth.
type tree struct {
	tokens   []int32   // by node
	segments []segment // one per distinct sequence, in the order of their nodes
	of       []int32   // by sequence, the segment that it ends with
}

// segment is the chain of nodes that a sequence adds to those before it. The
// sequence ends at its last node.
type segment struct {
	node  int // the first
	depth int // of the first: the number of its ancestors
	count int
}

// newTree makes the tree of sequences, none of them empty.
func newTree(seqs [][]int32) *tree {
	order := make([]int32, len(seqs))
	for i := range order {
		order[i] = int32(i)
	}
	// Sorted sequences are the tree from left to right: a prefix sorts before
	// what continues it.
	slices.SortFunc(order, func(a, b int32) int { return slices.Compare(seqs[a], seqs[b]) })
	t := &tree{of: make([]int32, len(seqs))}
	var last []int32
	for _, i := range order {
		seq := seqs[i]
		if shared := commonPrefix(last, seq); shared < len(seq) {
			t.segments = append(t.segments, segment{len(t.tokens), shared, len(seq) - shared})
			t.tokens = append(t.tokens, seq[shared:]...)
			last = seq
		}
		t.of[i] = int32(len(t.segments) - 1)
	}
	return t
}

func commonPrefix(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// tile is a run of whole segments.
type tile struct {
	node, rows int // of x
	first      int // index of the first segment
	segments   []segment
}

// tiles cuts the tree into runs of at most so many nodes, or one segment.
func (t *tree) tiles(rows int) []tile {
	var tiles []tile
	for i := 0; i < len(t.segments); {
		j, n := i, 0
		for j < len(t.segments) && (j == i || n+t.segments[j].count <= rows) {
			n += t.segments[j].count
			j++
		}
		tiles = append(tiles, tile{t.segments[i].node, n, i, t.segments[i:j]})
		i = j
	}
	return tiles
}
