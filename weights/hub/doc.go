// Package hub fetches published checkpoints by name: those of OpenAI's CLIP,
// of Segment Anything, SAM 2 and MobileSAM, and any repository of the Hugging Face
// Hub. Nothing else in this module uses the network, and this package only
// where [Fetch] is called.
//
// A file is checked against a SHA-256 that is known beforehand (OpenAI's URLs
// carry it, Meta's and MobileSAM's stand in the table of this package, large
// files of the Hub are named by it; small ones there by Git's SHA-1) and only
// then takes its name in the cache. What is in the cache is therefore whole,
// and found without the network. A download that was cut, or that brings nothing
// for a minute, goes on where it stopped, by itself or at the next call.
// Processes that want the same file at once wait for the first.
//
// The cache is the folder clipsurgery in [os.UserCacheDir], and grows without
// limit: delete what you do not need.
package hub
