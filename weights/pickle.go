package weights

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Pickle is a program for a stack machine that may call any function of any
// Python module: reading one as Python does is running it. This reader has the
// machine but not Python. A global name is looked up in a list of those that
// tensors are made of, what the list does not have is refused as soon as it is
// named, and calls build values of this file.
//
// It is ours because nlpodyssey/gopickle, which can be confined in the same
// way, reads all storages when it opens a file, does not read TorchScript, and
// takes memory by lengths that it has not checked.
//
// Sources: Python's Lib/pickletools.py; PyTorch's torch/_weights_only_unpickler.py,
// torch/_utils.py and torch/csrc/jit/serialization/pickler.cpp.

// Limits on one pickle, far above any published one: a tensor takes about 35
// operations and 150 bytes.
const (
	maxPickle     = 64 << 20 // bytes
	maxOperations = 1 << 20
)

// The values that pickles of tensors are made of, beside nil, bool, int64,
// float64 and string.
type (
	tuple []any
	list  struct{ items []any }
	dict  struct{ items []item } // in the order of insertion
	item  struct{ key, value any }

	// object is a TorchScript module, of which the state matters alone.
	object struct{ state any }

	// storage is the elements that one or more tensors lie in.
	storage struct {
		key    string
		dtype  DType
		count  int64 // elements
		offset int64 // of the first in the file, known after the pickle
	}

	// stored is a tensor: a view of a storage, in elements.
	stored struct {
		storage *storage
		offset  int64
		shape   []int
		strides []int
	}

	// opaque is a value that no tensor needs.
	opaque struct{}

	// callable is a global that a pickle may call, storageType one that tells
	// the type of elements.
	callable    func(args tuple) (any, error)
	storageType DType
)

// unpickler runs one pickle after another.
type unpickler struct {
	data     []byte // what is left
	script   bool   // TorchScript: its classes and lists are known, too
	storages map[string]*storage

	stack      []any
	marks      []int // lengths of the stack
	memo       map[uint32]any
	operations int
}

// load runs the next pickle and returns what it builds.
func (u *unpickler) load() (any, error) {
	u.stack, u.marks, u.memo, u.operations = u.stack[:0], u.marks[:0], make(map[uint32]any), 0
	if len(u.data) == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	for {
		op, err := u.bytes(1)
		if err != nil {
			return nil, err
		}
		if u.operations++; u.operations > maxOperations {
			return nil, fmt.Errorf("more than %d operations", maxOperations)
		}
		if op[0] == '.' {
			return u.pop()
		}
		if err := u.run(op[0]); err != nil {
			return nil, err
		}
	}
}

// run runs one operation, named in pickletools as the comments say.
func (u *unpickler) run(op byte) error {
	switch op {
	case '\x80': // PROTO
		version, err := u.bytes(1)
		if err == nil && version[0] > 5 {
			err = fmt.Errorf("protocol %d", version[0])
		}
		return err
	case '\x95': // FRAME: its length says nothing that the operations do not
		_, err := u.bytes(8)
		return err

	case '(': // MARK
		u.marks = append(u.marks, len(u.stack))
	case '0': // POP
		_, err := u.pop()
		return err
	case '1': // POP_MARK
		_, err := u.popMark()
		return err
	case '2': // DUP
		v, err := u.top()
		return u.push(v, err)

	case 'N': // NONE
		return u.push(nil, nil)
	case '\x88', '\x89': // NEWTRUE, NEWFALSE
		return u.push(op == '\x88', nil)
	case 'K', 'M', 'J': // BININT1, BININT2, BININT
		return u.push(u.integer(op))
	case '\x8a', '\x8b': // LONG1, LONG4
		return u.push(u.long(op))
	case 'G': // BINFLOAT
		b, err := u.bytes(8)
		if err != nil {
			return err
		}
		return u.push(math.Float64frombits(binary.BigEndian.Uint64(b)), nil)
	case 'S': // STRING, in quotes
		s, err := u.line()
		return u.push(strings.Trim(s, `'"`), err)
	case 'U', '\x8c', 'C': // SHORT_BINSTRING, SHORT_BINUNICODE, SHORT_BINBYTES
		return u.push(u.counted(1))
	case 'X', 'T', 'B': // BINUNICODE, BINSTRING, BINBYTES
		return u.push(u.counted(4))
	case '\x8d', '\x8e', '\x96': // BINUNICODE8, BINBYTES8, BYTEARRAY8
		return u.push(u.counted(8))

	case ')': // EMPTY_TUPLE
		return u.push(tuple(nil), nil)
	case '\x85', '\x86', '\x87': // TUPLE1, TUPLE2, TUPLE3
		items, err := u.popN(int(op - '\x84'))
		return u.push(tuple(items), err)
	case 't': // TUPLE
		items, err := u.popMark()
		return u.push(tuple(items), err)
	case ']', '\x8f': // EMPTY_LIST, EMPTY_SET
		return u.push(new(list), nil)
	case 'l', '\x91': // LIST, FROZENSET
		items, err := u.popMark()
		return u.push(&list{items}, err)
	case 'a': // APPEND
		items, err := u.popN(1)
		return u.extend(items, err)
	case 'e', '\x90': // APPENDS, ADDITEMS
		items, err := u.popMark()
		return u.extend(items, err)
	case '}': // EMPTY_DICT
		return u.push(new(dict), nil)
	case 'd': // DICT
		items, err := u.popMark()
		if err := u.push(new(dict), err); err != nil {
			return err
		}
		return u.set(items, nil)
	case 's': // SETITEM
		items, err := u.popN(2)
		return u.set(items, err)
	case 'u': // SETITEMS
		items, err := u.popMark()
		return u.set(items, err)

	case 'q', 'r', '\x94': // BINPUT, LONG_BINPUT, MEMOIZE
		return u.put(op)
	case 'h', 'j': // BINGET, LONG_BINGET
		return u.push(u.get(op))

	case 'c', 'i': // GLOBAL, INST
		module, err := u.line()
		if err != nil {
			return err
		}
		name, err := u.line()
		if err != nil {
			return err
		}
		v, err := u.global(module, name)
		if err == nil && op == 'i' {
			err = errors.New("an instance of the first protocol")
		}
		return u.push(v, err)
	case '\x93': // STACK_GLOBAL
		names, err := u.popN(2)
		if err != nil {
			return err
		}
		module, ok1 := names[0].(string)
		name, ok2 := names[1].(string)
		if !ok1 || !ok2 {
			return errors.New("a global without a name")
		}
		return u.push(u.global(module, name))
	case 'R', '\x81': // REDUCE, NEWOBJ
		return u.push(u.call())
	case 'b': // BUILD
		return u.build()
	case 'Q': // BINPERSID
		id, err := u.pop()
		if err != nil {
			return err
		}
		return u.push(u.persistent(id))
	default:
		return fmt.Errorf("operation %q is not of a file of tensors", op)
	}
	return nil
}

// bytes takes the next n bytes of the pickle.
func (u *unpickler) bytes(n uint64) ([]byte, error) {
	if n > uint64(len(u.data)) {
		return nil, io.ErrUnexpectedEOF
	}
	b := u.data[:n]
	u.data = u.data[n:]
	return b, nil
}

// line takes the rest of a line.
func (u *unpickler) line() (string, error) {
	end := bytes.IndexByte(u.data, '\n')
	if end < 0 {
		return "", io.ErrUnexpectedEOF
	}
	b, err := u.bytes(uint64(end) + 1)
	return string(b[:end]), err
}

// number takes an unsigned integer of size bytes.
func (u *unpickler) number(size int) (uint64, error) {
	b, err := u.bytes(uint64(size))
	if err != nil {
		return 0, err
	}
	var wide [8]byte
	copy(wide[:], b)
	return binary.LittleEndian.Uint64(wide[:]), nil
}

// counted takes a string after its length.
func (u *unpickler) counted(size int) (any, error) {
	n, err := u.number(size)
	if err != nil {
		return nil, err
	}
	b, err := u.bytes(n)
	return string(b), err
}

func (u *unpickler) integer(op byte) (any, error) {
	switch op {
	case 'K':
		n, err := u.number(1)
		return int64(n), err
	case 'M':
		n, err := u.number(2)
		return int64(n), err
	default: // 'J'
		n, err := u.number(4)
		return int64(int32(n)), err
	}
}

// long takes a number in two's complement. One beyond 64 bits becomes a
// string of its bytes: only the magic number of old files is that long.
func (u *unpickler) long(op byte) (any, error) {
	v, err := u.counted(map[byte]int{'\x8a': 1, '\x8b': 4}[op])
	if err != nil {
		return nil, err
	}
	b := v.(string)
	if len(b) > 8 {
		return b, nil
	}
	var wide [8]byte
	if len(b) > 0 && b[len(b)-1] >= 0x80 {
		wide = [8]byte(bytes.Repeat([]byte{0xff}, 8))
	}
	copy(wide[:], b)
	return int64(binary.LittleEndian.Uint64(wide[:])), nil
}

func (u *unpickler) push(v any, err error) error {
	if err == nil {
		u.stack = append(u.stack, v)
	}
	return err
}

// popN takes the last n values that lie above the last mark.
func (u *unpickler) popN(n int) ([]any, error) {
	at := len(u.stack) - n
	if at < u.floor() {
		return nil, errors.New("stack underflow")
	}
	items := slices.Clone(u.stack[at:])
	u.stack = u.stack[:at]
	return items, nil
}

// popMark takes all values above the last mark, and the mark.
func (u *unpickler) popMark() ([]any, error) {
	if len(u.marks) == 0 {
		return nil, errors.New("no mark")
	}
	items, err := u.popN(len(u.stack) - u.floor())
	u.marks = u.marks[:len(u.marks)-1]
	return items, err
}

func (u *unpickler) pop() (any, error) {
	v, err := u.top()
	if err == nil {
		u.stack = u.stack[:len(u.stack)-1]
	}
	return v, err
}

func (u *unpickler) top() (any, error) {
	if len(u.stack) <= u.floor() {
		return nil, errors.New("stack underflow")
	}
	return u.stack[len(u.stack)-1], nil
}

// floor is where the values above the last mark begin.
func (u *unpickler) floor() int {
	if len(u.marks) == 0 {
		return 0
	}
	return u.marks[len(u.marks)-1]
}

// extend appends to the list on top.
func (u *unpickler) extend(items []any, err error) error {
	if err != nil {
		return err
	}
	v, err := u.top()
	if err != nil {
		return err
	}
	l, ok := v.(*list)
	if !ok {
		return errors.New("append to what is no list")
	}
	l.items = append(l.items, items...)
	return nil
}

// set adds keys and values to the dict on top.
func (u *unpickler) set(items []any, err error) error {
	if err != nil {
		return err
	}
	v, err := u.top()
	if err != nil {
		return err
	}
	d, ok := v.(*dict)
	if !ok || len(items)%2 != 0 {
		return errors.New("set items of what is no dict")
	}
	for i := 0; i < len(items); i += 2 {
		d.items = append(d.items, item{items[i], items[i+1]})
	}
	return nil
}

func (u *unpickler) put(op byte) error {
	at := uint64(len(u.memo))
	var err error
	switch op {
	case 'q':
		at, err = u.number(1)
	case 'r':
		at, err = u.number(4)
	}
	if err != nil {
		return err
	}
	u.memo[uint32(at)], err = u.top()
	return err
}

func (u *unpickler) get(op byte) (any, error) {
	size := 1
	if op == 'j' {
		size = 4
	}
	at, err := u.number(size)
	if err != nil {
		return nil, err
	}
	v, ok := u.memo[uint32(at)]
	if !ok {
		return nil, fmt.Errorf("memo %d is not set", at)
	}
	return v, nil
}

// global returns what a name of Python means here: the allow list.
func (u *unpickler) global(module, name string) (any, error) {
	switch full := module + "." + name; {
	case full == "collections.OrderedDict":
		return callable(func(args tuple) (any, error) {
			if len(args) > 0 {
				return nil, errors.New("OrderedDict of something")
			}
			return new(dict), nil
		}), nil
	case full == "torch._utils._rebuild_tensor", full == "torch._utils._rebuild_tensor_v2":
		return callable(rebuildTensor), nil
	case full == "torch._utils._rebuild_parameter",
		full == "torch._utils._rebuild_parameter_with_state",
		full == "torch._utils._rebuild_device_tensor_from_cpu_tensor",
		full == "torch.Size":
		return callable(first), nil
	case full == "torch.device":
		return callable(func(tuple) (any, error) { return opaque{}, nil }), nil
	case module == "torch" || module == "torch.cuda":
		if t, ok := storageTypes()[name]; ok {
			return t, nil
		}
		if module == "torch" && slices.Contains(dtypeNames(), name) {
			return opaque{}, nil
		}
	case u.script && (module == "__torch__" || strings.HasPrefix(module, "__torch__.")):
		return callable(func(tuple) (any, error) { return new(object), nil }), nil
	case u.script && module == "torch.jit._pickle":
		switch name {
		case "build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag":
			return callable(first), nil
		}
	}
	return nil, fmt.Errorf("%w: %.200q", ErrGlobal, module+"."+name)
}

func storageTypes() map[string]storageType {
	return map[string]storageType{
		"FloatStorage": storageType(F32), "DoubleStorage": storageType(F64),
		"HalfStorage": storageType(F16), "BFloat16Storage": storageType(BF16),
		"LongStorage": storageType(I64), "IntStorage": storageType(I32),
		"ShortStorage": storageType(I16), "CharStorage": storageType(I8),
		"ByteStorage": storageType(U8), "BoolStorage": storageType(Bool),
	}
}

// dtypeNames are constants that say what storages say, too.
func dtypeNames() []string {
	return []string{"float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"}
}

// call calls one of our functions.
func (u *unpickler) call() (any, error) {
	both, err := u.popN(2)
	if err != nil {
		return nil, err
	}
	f, ok1 := both[0].(callable)
	args, ok2 := both[1].(tuple)
	if !ok1 || !ok2 {
		return nil, errors.New("call of what is no function")
	}
	return f(args)
}

// first stands for functions that wrap their first argument: a tensor in a
// parameter, or a tuple of numbers.
func first(args tuple) (any, error) {
	if len(args) == 0 {
		return nil, errors.New("call without arguments")
	}
	return args[0], nil
}

// rebuildTensor takes a storage, where in it the tensor begins, its shape and
// its strides. What follows tells of gradients.
func rebuildTensor(args tuple) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("tensor of %d arguments", len(args))
	}
	s, ok := args[0].(*storage)
	if !ok {
		return nil, errors.New("tensor without a storage")
	}
	offset, ok := args[1].(int64)
	shape, ok1 := integers(args[2])
	strides, ok2 := integers(args[3])
	if !ok || !ok1 || !ok2 {
		return nil, fmt.Errorf("tensor in storage %.80q: offset, shape and strides are not integers", s.key)
	}
	t := &stored{s, offset, shape, strides}
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("tensor of shape %v in storage %.80q: %w", shape, s.key, err)
	}
	return t, nil
}

// integers returns the numbers of a tuple or list.
func integers(v any) ([]int, bool) {
	var items []any
	switch v := v.(type) {
	case tuple:
		items = v
	case *list:
		items = v.items
	default:
		return nil, false
	}
	if len(items) > maxDimensions {
		return nil, false
	}
	out := make([]int, len(items))
	for i, v := range items {
		n, ok := v.(int64)
		if !ok || int64(int(n)) != n {
			return nil, false
		}
		out[i] = int(n)
	}
	return out, true
}

// check checks that all elements of a tensor lie in its storage, and that it
// has no more of them than the storage: none is repeated without end.
func (t *stored) check() error {
	n, ok := volume(t.shape)
	switch {
	case !ok || len(t.strides) != len(t.shape):
		return fmt.Errorf("strides %v", t.strides)
	case t.offset < 0 || t.offset > t.storage.count || int64(n) > t.storage.count:
		return fmt.Errorf("offset %d in %d elements", t.offset, t.storage.count)
	case n == 0:
		return nil
	}
	last := t.offset
	for i, d := range t.shape {
		stride := int64(t.strides[i])
		room := t.storage.count - 1 - last
		if stride < 0 || room < 0 || stride > 0 && int64(d-1) > room/stride {
			return fmt.Errorf("offset %d, strides %v in %d elements", t.offset, t.strides, t.storage.count)
		}
		last += int64(d-1) * stride
	}
	if last >= t.storage.count {
		return fmt.Errorf("offset %d in %d elements", t.offset, t.storage.count)
	}
	return nil
}

// build gives an object its state. Dicts and tensors have attributes, too
// (a state dict's _metadata), which nothing here needs.
func (u *unpickler) build() error {
	state, err := u.pop()
	if err != nil {
		return err
	}
	v, err := u.top()
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case *object:
		v.state = state
	case *dict, *stored:
	default:
		return errors.New("state of what has none")
	}
	return nil
}

// persistent returns the storage that an id names:
// ("storage", type, key, device, number of elements), in old files with a view
// of another storage, which nothing has written since PyTorch 0.4.
func (u *unpickler) persistent(id any) (any, error) {
	t, ok := id.(tuple)
	if !ok || len(t) < 5 || t[0] != "storage" {
		return nil, errors.New("a persistent id that is no storage's")
	}
	dtype, ok1 := t[1].(storageType)
	key, ok2 := t[2].(string)
	count, ok3 := t[4].(int64)
	if !ok1 || !ok2 || !ok3 || count < 0 || len(t) > 6 || len(t) == 6 && t[5] != nil {
		return nil, errors.New("a storage's id of unknown form")
	}
	s := &storage{key: key, dtype: DType(dtype), count: count}
	if old := u.storages[key]; old != nil {
		if old.dtype != s.dtype || old.count != count {
			return nil, fmt.Errorf("storage %.80q is %d of %v and %d of %v", key, old.count, old.dtype, count, s.dtype)
		}
		return old, nil
	}
	u.storages[key] = s
	return s, nil
}
