package applets

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// runLess shows text page by page where it is shown on a terminal, whose keys
// are read from /dev/tty: standard input may be the text.
func runLess(c *call) error {
	if !c.terminal {
		return runCat(c)
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return runCat(c)
	}
	defer tty.Close()
	var text strings.Builder
	const most = 16 << 20 // of a log in a small machine's memory
	if err := c.eachFile(c.args, func(_ string, r io.Reader) error {
		_, err := io.Copy(&text, io.LimitReader(r, most-int64(text.Len())))
		return err
	}); err != nil {
		return err
	}
	width, height, err := term.GetSize(int(tty.Fd()))
	if err != nil || width < 2 || height < 2 {
		width, height = 80, 24 // a serial line does not tell
	}
	old, err := term.MakeRaw(int(tty.Fd()))
	if err != nil {
		return runCat(c)
	}
	defer term.Restore(int(tty.Fd()), old)
	return page(foldLines(text.String(), width), height-1, bufio.NewReader(tty), tty)
}

// foldLines breaks a text into the lines of a terminal.
func foldLines(text string, width int) []string {
	var lines []string
	for line := range strings.Lines(text) {
		runes := []rune(strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\t", "        "))
		for len(runes) > width {
			lines, runes = append(lines, string(runes[:width])), runes[width:]
		}
		lines = append(lines, string(runes))
	}
	return lines
}

// page shows lines, size at a time, as keys say, until its reader has enough.
func page(lines []string, size int, keys io.ByteReader, w io.Writer) error {
	last := max(len(lines)-size, 0)
	for top := 0; ; {
		end := min(top+size, len(lines))
		foot := fmt.Sprintf("%d-%d of %d  space b j k g G q", top+1, end, len(lines))
		if _, err := io.WriteString(w, "\r\x1b[K"+strings.Join(lines[top:end], "\r\n")+"\r\n"+foot); err != nil {
			return err
		}
		key, err := keys.ReadByte()
		if _, err := io.WriteString(w, "\r\x1b[K"); err != nil {
			return err
		}
		if err != nil {
			return nil // nobody is there any more
		}
		switch key {
		case ' ', 'f':
			top = min(top+size, last)
		case 'b':
			top = max(top-size, 0)
		case 'j', '\r', '\n':
			top = min(top+1, last)
		case 'k':
			top = max(top-1, 0)
		case 'g', '<':
			top = 0
		case 'G', '>':
			top = last
		case 'q', 'Q', 3, 4, 0x1b: // Ctrl-C and Ctrl-D, too
			return nil
		}
	}
}
