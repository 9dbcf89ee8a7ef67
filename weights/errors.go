package weights

import "errors"

// Errors of this package wrap one or more of these, or an error of the file
// system. Their messages name the file, the tensor as the file calls it, what
// was wanted and what was found.
var (
	// ErrFormat reports a file that is malformed, hostile, or in a format that
	// this package does not read.
	ErrFormat = errors.New("not a readable checkpoint")
	// ErrGlobal reports a Python object where a tensor is wanted, or a pickle
	// that holds nothing but such objects. The message names the global that it
	// asks for. Nothing was run.
	ErrGlobal = errors.New("forbidden global")
	// ErrMissing reports a tensor that the file lacks.
	ErrMissing = errors.New("missing tensor")
	// ErrSurplus reports a tensor that no part of the model uses; see
	// [AllowSurplus].
	ErrSurplus = errors.New("surplus tensor")
	// ErrShape reports a tensor of another shape than wanted.
	ErrShape = errors.New("wrong shape")
	// ErrDType reports elements that are not floating-point where weights are
	// wanted, or that have a type which this package does not convert.
	ErrDType = errors.New("wrong data type")
	// ErrNotFinite reports a NaN, an infinity, or a value beyond float32.
	ErrNotFinite = errors.New("value is not finite")
)
