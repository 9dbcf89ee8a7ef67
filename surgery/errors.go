package surgery

import "errors"

var (
	// ErrConstant reports scores that are the same (or not numbers) in every
	// cell: neither a map nor a point can be made of them.
	ErrConstant = errors.New("scores are constant over the grid")
	// ErrThreshold reports that no cell reaches the threshold, or a threshold
	// or logit scale that is not finite.
	ErrThreshold = errors.New("no cell reaches the threshold")
	// ErrOption reports a refinement that means nothing.
	ErrOption = errors.New("option")
	// ErrGrid reports a grid too small to be halved, or one that does not fit
	// the number of rows.
	ErrGrid = errors.New("grid does not fit")
	// ErrText reports text features that do not fit the image features: no
	// rows, another width, or a row of length zero.
	ErrText = errors.New("text features do not fit")
	// ErrLabel reports a label index outside the columns of the scores.
	ErrLabel = errors.New("no such label")
)
