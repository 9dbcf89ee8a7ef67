package weights

import "errors"

// What can be wrong with a checkpoint. Errors wrap one of these and name the
// file, the tensor as the file calls it, what was wanted and what was found.
var (
	ErrFormat    = errors.New("not a readable checkpoint")
	ErrMissing   = errors.New("missing tensor")
	ErrSurplus   = errors.New("surplus tensor")
	ErrShape     = errors.New("wrong shape")
	ErrDType     = errors.New("wrong data type")
	ErrNotFinite = errors.New("weight is not finite")
)
