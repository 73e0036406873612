package block

import (
	"fmt"
	"io"
	"log/slog"
)

// BlkidMain is the blkid applet: it lists the block devices that can be read
// and hold something. It returns the exit status.
func BlkidMain(stdout io.Writer) int {
	for _, d := range NewDevices("/sys", "/dev", slog.New(slog.DiscardHandler)).List() {
		if d.Type != "" || d.Partition != (Partition{}) {
			fmt.Fprintln(stdout, d)
		}
	}
	return 0
}
