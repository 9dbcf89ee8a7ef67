package surgery

import "errors"

var (
	// ErrConstant reports scores that are the same, or not finite, in every
	// cell, so that they give neither a map nor points.
	ErrConstant = errors.New("scores are constant over the grid")
	// ErrThreshold reports a threshold that no cell reaches, or a threshold or
	// logit scale that is not finite.
	ErrThreshold = errors.New("no cell reaches the threshold")
	// ErrOption reports a meaningless refinement.
	ErrOption = errors.New("option")
	// ErrGrid reports a grid that is too small to be halved, or that does not
	// match the number of rows.
	ErrGrid = errors.New("grid does not fit")
	// ErrText reports text features that do not match the image features: they
	// have no rows, another width, or a row of length zero.
	ErrText = errors.New("text features do not fit")
	// ErrLabel reports the index of a label or class that does not exist.
	ErrLabel = errors.New("no such label")
)
