package cli

import (
	"errors"
	"flag"
	"fmt"

	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/vit"
)

// Windows is a flag for [vit.CLIP.EncodeWindows]: by itself the windows of the
// field's protocol, or -windows=560,224,112 for another short side, window and
// stride.
type Windows struct{ *vit.Windows }

// WindowsFlag defines the flag -windows.
func WindowsFlag() *Windows {
	w := new(Windows)
	flag.Var(w, "windows", "short side 336, windows of 224 every 112 pixels; or others, as -windows=560,224,112")
	return w
}

// IsBoolFlag lets the flag stand by itself.
func (w *Windows) IsBoolFlag() bool { return true }

// Set reads the flag.
func (w *Windows) Set(s string) error {
	own := surgery.DefaultWindows()
	switch s {
	case "true":
	case "false":
		w.Windows = nil
		return nil
	default:
		if _, err := fmt.Sscanf(s, "%d,%d,%d", &own.ShortSide, &own.Side, &own.Stride); err != nil || s != (&Windows{&own}).String() {
			return errors.New("three numbers are needed, as 336,224,112")
		}
	}
	w.Windows = &own
	return nil
}

func (w *Windows) String() string {
	if w == nil || w.Windows == nil {
		return "false"
	}
	return fmt.Sprintf("%d,%d,%d", w.ShortSide, w.Side, w.Stride)
}
