// Package tokenizer turns text into the token ids of CLIP: byte-level
// byte-pair encoding with a vocabulary of 49,408, which is embedded.
//
// It gives the ids of openai/CLIP clip/simple_tokenizer.py with ftfy 6.3, one
// for one. A text passes three stages:
//
//   - [Clean] repairs and normalizes it: ftfy's repairs, HTML entities, white
//     space, lower case;
//   - it is split into words: the special tokens, English contractions ('s 't
//     're 've 'm 'll 'd), runs of letters, single number characters, runs of
//     anything else but space;
//   - the bytes of each word are merged pair by pair, in the order in which
//     the 48,894 merges were learned, up to the end of the word, which is
//     marked </w>.
//
// [Tokenizer.Tokenize] adds the start and the end token and pads with zeros to
// the context length, which is what a text tower takes. [Tokenizer.Pieces]
// says which part of the text each token is.
//
// # Differences
//
// ftfy also repairs text that was decoded with the wrong encoding ("cafÃ©" for
// "café"). This package does not, and such text keeps its odd characters.
// Characters newer than Unicode 14 may be classified otherwise than by the
// reference, as each follows the Unicode version it was built with. Bytes that
// are not UTF-8, which Python's strings cannot hold, count as U+FFFD each.
//
// # Cost
//
// The time is proportional to the length of the text, with a logarithmic
// factor in the length of its longest word. Nothing is cached between calls.
// A Tokenizer is immutable and safe for concurrent use; it takes about 2 MB
// and some milliseconds to make, so make one and share it.
package tokenizer
