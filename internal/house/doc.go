// Package house holds no code: its tests guard the rules of the whole module
// that a compiler does not know. They read the source and run nothing.
package house
