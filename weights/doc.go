// Package weights reads checkpoints as they are published and writes
// safetensors.
//
// [Open] recognizes a file by its content: safetensors; the index of a sharded
// checkpoint; a zip archive written by PyTorch's torch.save or by TorchScript
// (.pt, .pth, .bin); or the format of torch.save before PyTorch 1.6. In a
// directory it looks for the names in [CheckpointNames]; [OpenModel] looks for
// the file that holds a given model.
//
// A [File] maps its data into memory and converts a tensor on request: opening
// reads only the list of tensors. Storages are read in place, whatever the
// offset, strides and byte order of a tensor. A [View] presents a File under a
// model's own tensor names, whoever published it; packages vit and sam define
// theirs. [Save] writes any File as safetensors.
//
// # What is not a tensor
//
// Besides weights, pickles hold optimizers, numpy scalars, argument lists,
// paths and other Python objects. Nothing is run or imported: an unknown object
// becomes a placeholder with its name, and is an error ([ErrGlobal]) only if a
// tensor is wanted in its place. Tensors of types that are not converted
// (complex numbers, 8-bit floats) are listed, but reading one is [ErrDType].
// [File.Unreadable] lists both kinds.
//
// # Names in pickles
//
// A training checkpoint holds more than weights. As long as a dict or module
// has a dict or module with tensors under "state_dict", "model_state_dict",
// "model", "module", "net", "network", "params", or under a name for averaged
// weights ("ema", "model_ema", "ema_state_dict", "state_dict_ema",
// "params_ema"), only the first of these counts. Below it, nested dicts and
// modules make names with dots. The prefixes "module."
// (DistributedDataParallel) and "_orig_mod." (torch.compile) are removed where
// all names have them.
//
// # Hostile files
//
// A File is checked before it is used. The following is [ErrFormat]:
//
//   - Pickles are not run. Of Python there are only the parts that tensors are
//     made of; a pickle in which nothing else is to be found is [ErrGlobal], by
//     the first name that it asks for. TorchScript's code is ignored.
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
// NaN and infinite weights are [ErrNotFinite] when they are read.
//
// No input makes the package panic. Opening takes memory in proportion to the
// header or pickle: a few times its size, plus at most about 120 MB within the
// limits above. Reading a tensor takes four bytes per element, so at most four
// per byte of the file. If a file is truncated while it is mapped, reading
// fails with an error where the operating system reports a fault.
package weights
