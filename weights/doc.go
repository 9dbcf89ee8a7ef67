// Package weights reads checkpoints as they are published and writes
// safetensors.
//
// [Open] tells by a file's content what it is: safetensors; the index of a
// sharded checkpoint; a zip archive of PyTorch's torch.save or of TorchScript
// (.pt, .pth, .bin); or what torch.save wrote before PyTorch 1.6. A directory
// is searched for the names in [CheckpointNames], by [OpenModel] for the file that
// holds the model.
//
// A [File] maps its data into memory and converts a tensor when it is asked
// for: opening reads the list of tensors alone, and nothing is held that was
// not read. Storages are read where they lie in the file, whatever offset,
// strides and byte order a tensor has. A [View] sees a File under the names of a
// model, whoever published it; packages vit and sam own theirs. [Save] writes any File as safetensors.
//
// # What is not a tensor
//
// Beside weights, pickles hold optimizers, numpy scalars, argument lists, paths
// and any other Python object. None of it is run or imported: what this package
// does not know becomes a value that remembers its name, and matters only where
// a tensor is wanted in its place ([ErrGlobal]). Tensors of types that are not
// converted (complex numbers, floats of 8 bits) are listed, and reading one is
// [ErrDType]. [File.Unreadable] tells both.
//
// # Names in pickles
//
// A training checkpoint holds more than weights. While a dict or module has a
// dict or module with tensors under "state_dict", "model_state_dict", "model",
// "module", "net", "network", "params", or under a name for averaged weights
// ("ema", "model_ema", "ema_state_dict", "state_dict_ema", "params_ema"), the
// first of these, only what lies there counts. From there on, dicts in dicts and
// modules in modules make names with dots. Beginnings that all names share and
// that tell of training, "module." (DistributedDataParallel) and "_orig_mod."
// (torch.compile), are taken off.
//
// # Hostile files
//
// A File is checked before it is used, and what is wrong is [ErrFormat]:
//
//   - Pickles are not run. Of Python there are only the parts that tensors are
//     made of; a pickle in which nothing else is to be found is [ErrGlobal], by
//     the first name that it asks for. TorchScript's code is not looked at.
//   - In safetensors: a header of more than 100 MB or beyond the file, that is
//     not UTF-8, or has a key twice; shapes that overflow; ranges that overlap,
//     leave holes or lie outside the file.
//   - In archives: records that occur twice, overlap, are compressed or
//     encrypted, or lie outside the file; storages of another size than the
//     pickle says.
//   - Tensors outside their storage, with negative strides, or with more
//     elements than their storage (a tensor that PyTorch has expanded).
//   - More than 65,536 tensors in a file, 64 dimensions, 1,048,576 numbers in a
//     header, 64 dicts in each other, a pickle of more than 64 MiB, 1,048,576 operations
//     or a dimension for each 8 of its bytes, an archive's directory of more than 16 MiB.
//   - Names twice, of more than 1,024 bytes, that are not UTF-8, or with control
//     characters, which would garble the terminal that shows them.
//   - Shards outside the directory of their index, and an index that does not
//     agree with its shards on every tensor.
//
// Weights that are NaN or infinite are [ErrNotFinite] when they are read.
//
// No input makes the package panic. Opening takes memory in proportion to the
// header or pickle: a few times its size, and what the counts above allow, about
// 120 MB. Reading a tensor takes four bytes for each element, which is no more
// than four for each byte of the file. A file that is cut short while it is
// mapped is an error where the operating system reports it as a fault.
package weights
