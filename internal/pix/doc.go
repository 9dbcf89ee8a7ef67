// Package pix reproduces, bit for bit, how the references prepare pictures:
// Pillow's color conversion and antialiased resampling on bytes, and PyTorch's
// interpolation on floats. Each function names what it reproduces.
package pix
