// Package option applies the options of a call. Everywhere in the module an
// option is a value of an interface type that one unexported method makes the
// package's own; the method sets fields of the call's options and refuses values
// that mean nothing. Of equal options the last counts.
package option

// Apply sets the options one after another, those that are nil left out. The
// first error ends it. set is the method expression of T's one method.
func Apply[O, T any](o *O, opts []T, set func(T, *O) error) error {
	for _, opt := range opts {
		if any(opt) == nil {
			continue
		}
		if err := set(opt, o); err != nil {
			return err
		}
	}
	return nil
}
