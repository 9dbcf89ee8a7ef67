package weights

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Pickle is a program for a stack machine that may call any function of any
// Python module: reading one as Python does is running it. This reader has the
// machine but not Python. A global name is looked up in a list of those that
// tensors are made of, and calls build values of this file. Whatever else a
// pickle names, calls or fills becomes an unknown, a value that remembers the
// name and nothing more: it does no harm beside tensors and is an error where a
// tensor is wanted.
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

	// A tensor of four dimensions has eight numbers in its shape and strides. A
	// pickle may have minNumbers of them, and one more for so many of its bytes.
	minNumbers     = 1 << 12
	bytesPerNumber = 4
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
		kind   string // the class, as PyTorch names it
		dtype  DType  // Other: not converted
		count  int64  // elements
		offset int64  // of the first in the file, known after the pickle
	}

	// stored is a tensor: a view of a storage, in elements of its own type, which
	// is the storage's unless that is untyped.
	stored struct {
		storage *storage
		dtype   DType
		offset  int64
		shape   []int
		strides []int
	}

	// lost is a tensor that cannot be read.
	lost struct {
		shape []int
		err   error
	}

	// unknown is a Python object that this reader does not have: a global, what a
	// call of it returns, an instance.
	unknown struct{ global string }

	// callable is a global that a pickle may call, storageType one that tells
	// the type of elements.
	callable    func(args tuple) (any, error)
	storageType struct {
		name  string
		dtype DType
	}
	elementType storageType // torch.float32 and the like
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
	numbers    int      // in shapes and strides, that may still be copied
	first      *unknown // that was named
}

// load runs the next pickle and returns what it builds.
func (u *unpickler) load() (any, error) {
	u.stack, u.marks, u.memo, u.operations = u.stack[:0], u.marks[:0], make(map[uint32]any), 0
	u.numbers = minNumbers + len(u.data)/bytesPerNumber
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
	case 'I', 'L', 'F', 'V': // INT, LONG, FLOAT, UNICODE: texts of protocol 0
		s, err := u.line()
		return u.push(textValue(op, s), err)
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

	case 'q', 'r', 'p', '\x94': // BINPUT, LONG_BINPUT, PUT, MEMOIZE
		return u.put(op)
	case 'h', 'j', 'g': // BINGET, LONG_BINGET, GET
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
		v := u.global(module, name)
		if op == 'i' {
			if _, err := u.popMark(); err != nil {
				return err
			}
			v = u.instance(v)
		}
		return u.push(v, nil)
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
		return u.push(u.global(module, name), nil)
	case 'o': // OBJ
		items, err := u.popMark()
		if err == nil && len(items) == 0 {
			err = errors.New("OBJ without a class")
		}
		if err != nil {
			return err
		}
		return u.push(u.instance(items[0]), nil)
	case '\x92': // NEWOBJ_EX: keyword arguments are for objects that are not here
		if _, err := u.pop(); err != nil {
			return err
		}
		return u.push(u.call())
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
	case 'P': // PERSID, a text, which torch.save never writes
		_, err := u.line()
		return u.push(&unknown{"a persistent id"}, err)
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
	switch l := v.(type) {
	case *list:
		l.items = append(l.items, items...)
	case *unknown:
	default:
		return errors.New("APPEND: top of stack is not a list")
	}
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
	if _, ok := v.(*unknown); ok {
		return nil
	}
	d, ok := v.(*dict)
	if !ok || len(items)%2 != 0 {
		return errors.New("SETITEMS: top of stack is not a dict, or a key lacks its value")
	}
	for i := 0; i < len(items); i += 2 {
		d.items = append(d.items, item{items[i], items[i+1]})
	}
	return nil
}

func (u *unpickler) put(op byte) (err error) {
	at := uint64(len(u.memo))
	if op != '\x94' { // MEMOIZE takes the next place
		if at, err = u.place(op); err != nil {
			return err
		}
	}
	u.memo[uint32(at)], err = u.top()
	return err
}

func (u *unpickler) get(op byte) (any, error) {
	at, err := u.place(op)
	if err != nil {
		return nil, err
	}
	v, ok := u.memo[uint32(at)]
	if !ok {
		return nil, fmt.Errorf("memo %d is not set", at)
	}
	return v, nil
}

// place takes a place in the memo: one byte, four, or the text of a line.
func (u *unpickler) place(op byte) (uint64, error) {
	switch op {
	case 'q', 'h':
		return u.number(1)
	case 'r', 'j':
		return u.number(4)
	}
	s, err := u.line()
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(s, 10, 32)
}

// textValue is the value of a text of protocol 0; what cannot be parsed stays
// a text, which no tensor is made of.
func textValue(op byte, s string) any {
	switch op {
	case 'I':
		if s == "00" || s == "01" {
			return s == "01"
		}
		fallthrough
	case 'L':
		if n, err := strconv.ParseInt(strings.TrimSuffix(s, "L"), 10, 64); err == nil {
			return n
		}
	case 'F':
		if v, err := strconv.ParseFloat(s, 64); err == nil {
			return v
		}
	}
	return s
}

// global returns what a name of Python means here: the list of what tensors are
// made of, or an unknown.
func (u *unpickler) global(module, name string) any {
	switch full := module + "." + name; {
	case full == "collections.OrderedDict", full == "collections.defaultdict", full == "builtins.dict", full == "__builtin__.dict":
		return callable(newDict)
	case full == "torch._utils._rebuild_tensor", full == "torch._utils._rebuild_tensor_v2":
		return callable(u.rebuildTensor)
	case full == "torch._utils._rebuild_tensor_v3":
		return callable(u.rebuildTyped)
	case full == "torch._utils._rebuild_parameter",
		full == "torch._utils._rebuild_parameter_with_state",
		full == "torch._utils._rebuild_device_tensor_from_cpu_tensor",
		full == "torch.Size":
		return callable(first)
	case full == "torch._tensor._rebuild_from_type_v2":
		return callable(u.rebuildFromType)
	case full == "torch.storage.UntypedStorage":
		return storageType{name, U8}
	case module == "torch" || module == "torch.cuda":
		if t, ok := storageTypes()[name]; ok {
			return storageType{name, t}
		}
		if strings.HasSuffix(name, "Storage") {
			return storageType{name, Other}
		}
		if t, ok := elementTypes()[name]; ok && module == "torch" {
			return elementType{name, t}
		}
		if isElementType(name) && module == "torch" {
			return elementType{name, Other}
		}
	case u.script && (module == "__torch__" || strings.HasPrefix(module, "__torch__.")):
		return callable(func(tuple) (any, error) { return new(object), nil })
	case u.script && module == "torch.jit._pickle":
		switch name {
		case "build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag":
			return callable(first)
		}
	}
	v := &unknown{fmt.Sprintf("%.200s.%.200s", module, name)}
	if u.first == nil {
		u.first = v
	}
	return v
}

func (v *unknown) err() error { return fmt.Errorf("%w: %q", ErrGlobal, v.global) }

func storageTypes() map[string]DType {
	return map[string]DType{
		"FloatStorage": F32, "DoubleStorage": F64, "HalfStorage": F16, "BFloat16Storage": BF16,
		"LongStorage": I64, "IntStorage": I32, "ShortStorage": I16, "CharStorage": I8,
		"ByteStorage": U8, "BoolStorage": Bool, "UntypedStorage": U8,
	}
}

// otherWidths are the bytes of an element of types that are not converted, which
// old files do not tell.
func otherWidths() map[string]int64 {
	return map[string]int64{
		"ComplexFloatStorage": 8, "ComplexDoubleStorage": 16,
		"QInt8Storage": 1, "QUInt8Storage": 1, "QInt32Storage": 4, "QUInt4x2Storage": 1, "QUInt2x4Storage": 1,
	}
}

func elementTypes() map[string]DType {
	return map[string]DType{
		"float32": F32, "float64": F64, "float16": F16, "bfloat16": BF16,
		"int64": I64, "int32": I32, "int16": I16, "int8": I8,
		"uint64": U64, "uint32": U32, "uint16": U16, "uint8": U8, "bool": Bool,
	}
}

// isElementType tells other names of types of elements, such as
// torch.float8_e4m3fn and torch.complex64.
func isElementType(name string) bool {
	for _, kind := range []string{"float", "complex", "qint", "quint", "int", "uint", "bits"} {
		if rest, ok := strings.CutPrefix(name, kind); ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
			return true
		}
	}
	return false
}

// call calls one of our functions. What is not ours is not called: it gives
// an unknown.
func (u *unpickler) call() (any, error) {
	both, err := u.popN(2)
	if err != nil {
		return nil, err
	}
	args, ok := both[1].(tuple)
	if !ok {
		return nil, errors.New("call with arguments that are not a tuple")
	}
	switch f := both[0].(type) {
	case callable:
		return f(args)
	case *unknown:
		return f, nil
	case storageType:
		return &unknown{fmt.Sprintf("an instance of torch.%.80s", f.name)}, nil
	case elementType:
		return &unknown{fmt.Sprintf("an instance of torch.%.80s", f.name)}, nil
	}
	return nil, errors.New("REDUCE: second of stack is not callable")
}

// instance is an object of a class that has no part in tensors.
func (u *unpickler) instance(class any) any {
	if v, ok := class.(*unknown); ok {
		return v
	}
	return &unknown{"an instance of the first protocol"}
}

// newDict makes a dict of nothing, of a factory of values, or, as old programs
// write it, of a list of pairs.
func newDict(args tuple) (any, error) {
	d := new(dict)
	if len(args) == 0 {
		return d, nil
	}
	pairs, ok := args[0].(*list)
	if !ok {
		return d, nil
	}
	for _, p := range pairs.items {
		var kv []any
		switch p := p.(type) {
		case tuple:
			kv = p
		case *list:
			kv = p.items
		}
		if len(kv) != 2 {
			return nil, errors.New("a dict made of a list that does not hold pairs")
		}
		d.items = append(d.items, item{kv[0], kv[1]})
	}
	return d, nil
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
func (u *unpickler) rebuildTensor(args tuple) (any, error) { return u.tensor(args, nil) }

// rebuildTyped is rebuildTensor of an untyped storage: the type of the elements
// is argument 6.
func (u *unpickler) rebuildTyped(args tuple) (any, error) {
	if len(args) < 7 {
		return nil, fmt.Errorf("tensor of %d arguments", len(args))
	}
	t, ok := args[6].(elementType)
	if !ok {
		return nil, errors.New("tensor without a type")
	}
	return u.tensor(args, &t)
}

// rebuildFromType calls the function that makes a tensor of a subclass, and
// leaves subclass and attributes out.
func (u *unpickler) rebuildFromType(args tuple) (any, error) {
	if len(args) < 3 {
		return nil, fmt.Errorf("tensor of %d arguments", len(args))
	}
	f, ok := args[0].(callable)
	inner, ok2 := args[2].(tuple)
	if !ok || !ok2 {
		return &unknown{"a subclass of torch.Tensor"}, nil
	}
	return f(inner)
}

func (u *unpickler) tensor(args tuple, own *elementType) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("tensor of %d arguments", len(args))
	}
	if v, ok := args[0].(*unknown); ok {
		return v, nil
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
	if u.numbers -= len(shape) + len(strides); u.numbers < 0 {
		return nil, errors.New("more dimensions than a pickle of that size has")
	}
	t := &stored{s, s.dtype, offset, shape, strides}
	name := s.kind
	if own != nil {
		t.dtype, name = own.dtype, own.name
	}
	if t.dtype == Other {
		return &lost{shape, fmt.Errorf("%w: elements are torch.%.80s, which are not converted", ErrDType, name)}, nil
	}
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
	count := t.storage.count
	if t.dtype != t.storage.dtype { // of an untyped storage, counted in bytes
		count /= int64(t.dtype.Size())
	}
	switch {
	case t.dtype != t.storage.dtype && t.storage.kind != "UntypedStorage":
		return fmt.Errorf("%v in a storage of %v", t.dtype, t.storage.dtype)
	case !ok || len(t.strides) != len(t.shape):
		return fmt.Errorf("strides %v", t.strides)
	case t.offset < 0 || t.offset > count || int64(n) > count:
		return fmt.Errorf("offset %d in %d elements", t.offset, count)
	case n == 0:
		return nil
	}
	last := t.offset
	for i, d := range t.shape {
		stride := int64(t.strides[i])
		room := count - 1 - last
		if stride < 0 || room < 0 || stride > 0 && int64(d-1) > room/stride {
			return fmt.Errorf("offset %d, strides %v in %d elements", t.offset, t.strides, count)
		}
		last += int64(d-1) * stride
	}
	if last >= count {
		return fmt.Errorf("offset %d in %d elements", t.offset, count)
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
	case *dict, *stored, *lost, *list, *unknown:
	default:
		return errors.New("BUILD: top of stack has no state")
	}
	return nil
}

// persistent returns the storage that an id names:
// ("storage", type, key, device, number of elements), in old files with a view
// of another storage, which nothing has written since PyTorch 0.4.
func (u *unpickler) persistent(id any) (any, error) {
	t, ok := id.(tuple)
	if !ok || len(t) < 5 || t[0] != "storage" {
		return &unknown{"a persistent id"}, nil
	}
	kind, ok1 := t[1].(storageType)
	key, ok2 := t[2].(string)
	count, ok3 := t[4].(int64)
	if !ok1 || !ok2 || !ok3 || count < 0 || len(t) > 6 || len(t) == 6 && t[5] != nil {
		return nil, errors.New("a storage's id of unknown form")
	}
	s := &storage{key: key, kind: kind.name, dtype: kind.dtype, count: count}
	if old := u.storages[key]; old != nil {
		if old.kind != s.kind || old.count != count {
			return nil, fmt.Errorf("storage %.80q is %d of %v and %d of %v", key, old.count, old.dtype, count, s.dtype)
		}
		return old, nil
	}
	u.storages[key] = s
	return s, nil
}

// describe is a value for a message: what it is, and a little of it.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool, int64, float64:
		return fmt.Sprint(v)
	case string:
		return fmt.Sprintf("%.40q", v)
	case tuple:
		return fmt.Sprintf("a tuple of %d", len(v))
	case *list:
		return fmt.Sprintf("a list of %d", len(v.items))
	case *dict:
		return fmt.Sprintf("a dict of %d", len(v.items))
	case *stored, *lost:
		return "a tensor"
	case *unknown:
		return fmt.Sprintf("%.80q", v.global)
	}
	return "an object"
}
