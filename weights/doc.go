// Package weights reads checkpoints: safetensors in one file, in shards, or in
// a Hugging Face directory, with the names of whoever published them.
//
// A [File] maps its data into memory and converts a tensor when it is asked
// for: opening reads the header alone, and nothing is held that was not read.
// [CLIP] and [SAM] see a File through one layout, whatever its names are.
//
// # Hostile files
//
// A File is checked before it is used: the header's length, its encoding, keys
// that occur twice, shapes that overflow, ranges that overlap, leave holes or
// lie outside the file are [ErrFormat]. Weights that are NaN or infinite are
// [ErrNotFinite]. No input makes the package panic or take memory beyond a
// small multiple of the file.
package weights
