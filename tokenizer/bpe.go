package tokenizer

// merger merges the bytes of one word into tokens. Its memory is reused from
// word to word.
//
// The reference looks through the whole word for its earliest learned pair,
// again and again. Here all pairs wait in a heap, so that a word of n bytes
// takes n log n steps. The order is the same: a token arises from one merge
// only, and a pair that contains it was learned after that merge, so that what
// a merge adds to the heap comes after what it was taken from.
type merger struct {
	*vocabulary
	symbols []symbol // of the word: one for each byte, linked where still in use
	queue   []uint64 // a binary heap of token<<32 | index of the left symbol
}

// symbol is a token inside a word that begins at the byte with its index.
type symbol struct {
	id         uint16
	merged     uint16 // what it would become with its right neighbor, 0 if nothing
	prev, next int32  // neighbors, outside the word if there is none
}

// merge leaves the tokens of word, which is not empty, in m.symbols, linked
// from index 0 on until next is len(word).
func (m *merger) merge(word string) {
	m.symbols, m.queue = m.symbols[:0], m.queue[:0]
	for i := range len(word) {
		m.symbols = append(m.symbols, symbol{id: m.byte[word[i]], prev: int32(i) - 1, next: int32(i) + 1})
	}
	m.symbols[len(word)-1].id += numBytes
	for i := range m.symbols {
		m.offer(int32(i))
	}
	for len(m.queue) > 0 {
		top := m.pop()
		merged, i := uint16(top>>32), int32(uint32(top))
		left := &m.symbols[i]
		if left.merged != merged {
			continue // a neighbor was merged elsewhere since
		}
		right := &m.symbols[left.next]
		right.merged = 0
		left.id, left.next = merged, right.next
		if int(left.next) < len(m.symbols) {
			m.symbols[left.next].prev = i
		}
		m.offer(i)
		if left.prev >= 0 {
			m.offer(left.prev)
		}
	}
}

// offer puts the pair that begins at symbol i into the queue if it can merge.
func (m *merger) offer(i int32) {
	s := &m.symbols[i]
	s.merged = 0
	if int(s.next) == len(m.symbols) {
		return
	}
	if s.merged = m.vocabulary.merge[pair(s.id, m.symbols[s.next].id)]; s.merged != 0 {
		m.push(uint64(s.merged)<<32 | uint64(i))
	}
}

func (m *merger) push(x uint64) {
	m.queue = append(m.queue, x)
	i := len(m.queue) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if m.queue[parent] <= x {
			break
		}
		m.queue[i] = m.queue[parent]
		i = parent
	}
	m.queue[i] = x
}

func (m *merger) pop() uint64 {
	end := len(m.queue) - 1
	top, x := m.queue[0], m.queue[end]
	q := m.queue[:end]
	m.queue = q
	if end == 0 {
		return top
	}
	i := 0
	for {
		child := 2*i + 1
		if child+1 < end && q[child+1] < q[child] {
			child++
		}
		if child >= end || x <= q[child] {
			break
		}
		q[i] = q[child]
		i = child
	}
	q[i] = x
	return top
}
