package applets

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// eachFile calls do with every operand opened, or with standard input.
func (c *call) eachFile(names []string, do func(name string, r io.Reader) error) error {
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		if name == "-" {
			if err := do("standard input", c.in); err != nil {
				return err
			}
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			c.complain(err)
			continue
		}
		err = do(name, f)
		_ = f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func runCat(c *call) error {
	return c.eachFile(c.args, func(name string, r io.Reader) error {
		buf := make([]byte, 64<<10)
		for {
			n, err := r.Read(buf)
			if n > 0 {
				// Unbuffered: a pipe or the kernel log may pause for ever.
				if _, err := c.out.Write(buf[:n]); err != nil {
					return err
				}
				if err := c.out.Flush(); err != nil {
					return err
				}
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				c.complain(err)
				return nil
			}
		}
	})
}

// number reads a count with an optional K, M or G (powers of 1024).
func number(s string) (int64, error) {
	digits := strings.TrimRight(strings.ToUpper(s), "KMGB")
	n, err := strconv.ParseInt(digits, 0, 48)
	if err != nil || n < 0 {
		return 0, usageError(fmt.Sprintf("%q is no number", s))
	}
	switch strings.TrimSuffix(strings.ToUpper(s)[len(digits):], "B") {
	case "K":
		n <<= 10
	case "M":
		n <<= 20
	case "G":
		n <<= 30
	}
	return n, nil
}

// lineCount is -n, 10 by default; "head -5" works as "head -n 5".
func (c *call) lineCount() (int64, error) {
	if v, ok := c.opts['n']; ok {
		return number(strings.TrimPrefix(v, "-"))
	}
	return 10, nil
}

func (c *call) title(name string, first *bool) {
	if len(c.args) < 2 {
		return
	}
	if !*first {
		c.out.WriteByte('\n')
	}
	*first = false
	fmt.Fprintf(c.out, "==> %s <==\n", name)
}

func runHead(c *call) error {
	lines, err := c.lineCount()
	if err != nil {
		return err
	}
	bytesMax := int64(-1)
	if v, ok := c.opts['c']; ok {
		if bytesMax, err = number(v); err != nil {
			return err
		}
	}
	first := true
	return c.eachFile(c.args, func(name string, r io.Reader) error {
		c.title(name, &first)
		if bytesMax >= 0 {
			_, err := io.CopyN(c.out, r, bytesMax)
			return notEOF(err)
		}
		in := bufio.NewReader(r)
		for range lines {
			line, err := in.ReadSlice('\n')
			for errors.Is(err, bufio.ErrBufferFull) {
				c.out.Write(line)
				line, err = in.ReadSlice('\n')
			}
			c.out.Write(line)
			if err != nil {
				return notEOF(err)
			}
		}
		return nil
	})
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func runTail(c *call) error {
	n, err := c.lineCount()
	if err != nil {
		return err
	}
	first := true
	err = c.eachFile(c.args, func(name string, r io.Reader) error {
		c.title(name, &first)
		if strings.HasPrefix(c.opts['n'], "+") {
			return c.from(r, n)
		}
		// All is read, the last n lines are kept: files here are small.
		last := make([]string, 0, min(n, 1024))
		in := bufio.NewReader(r)
		for {
			line, err := in.ReadString('\n')
			if line != "" && n > 0 {
				if int64(len(last)) == n {
					copy(last, last[1:])
					last = last[:n-1]
				}
				last = append(last, line)
			}
			if err != nil {
				if nerr := notEOF(err); nerr != nil {
					return nerr
				}
				break
			}
		}
		for _, line := range last {
			c.out.WriteString(line)
		}
		if f, ok := r.(*os.File); ok && c.has('f') && len(c.args) == 1 {
			return c.follow(f)
		}
		return nil
	})
	return err
}

// from writes what begins with line n, the first one being 1.
func (c *call) from(r io.Reader, n int64) error {
	in := bufio.NewReader(r)
	for i := int64(1); i < n; i++ {
		if _, err := in.ReadString('\n'); err != nil {
			return notEOF(err)
		}
	}
	_, err := io.Copy(c.out, in)
	return err
}

// follow writes what is added to f until the context ends.
func (c *call) follow(f *os.File) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := io.Copy(c.out, f); err != nil {
			return err
		}
		if err := c.out.Flush(); err != nil {
			return err
		}
		if fi, err := f.Stat(); err == nil {
			if at, err := f.Seek(0, io.SeekCurrent); err == nil && fi.Size() < at {
				if _, err := f.Seek(0, io.SeekStart); err != nil { // truncated: from the start
					return err
				}
			}
		}
		select {
		case <-c.ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func runHexdump(c *call) error {
	if len(c.args) > 1 {
		return usageError("one file at a time")
	}
	limit, skip := int64(-1), int64(0)
	var err error
	if v, ok := c.opts['n']; ok {
		if limit, err = number(v); err != nil {
			return err
		}
	}
	if v, ok := c.opts['s']; ok {
		if skip, err = number(v); err != nil {
			return err
		}
	}
	return c.eachFile(c.args, func(_ string, r io.Reader) error {
		if skip > 0 {
			s, ok := r.(io.Seeker)
			if !ok {
				_, err = io.CopyN(io.Discard, r, skip)
			} else if _, err = s.Seek(skip, io.SeekStart); err != nil {
				_, err = io.CopyN(io.Discard, r, skip)
			}
			if err != nil {
				return notEOF(err)
			}
		}
		if limit >= 0 {
			r = io.LimitReader(r, limit)
		}
		return c.dump(c.ctx, r, skip)
	})
}

// dump writes r as "hexdump -C" does, repeated rows as one "*".
func (c *call) dump(ctx context.Context, r io.Reader, at int64) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var row, before [16]byte
	repeated := false
	for full := false; ctx.Err() == nil; {
		n, err := io.ReadFull(in, row[:])
		if n == 0 {
			if full {
				fmt.Fprintf(c.out, "%08x\n", at)
			}
			return notEOF(err)
		}
		if full && n == 16 && bytes.Equal(row[:], before[:]) {
			if !repeated {
				c.out.WriteString("*\n")
			}
			repeated = true
			at += 16
			continue
		}
		repeated, full, before = false, true, row
		fmt.Fprintf(c.out, "%08x ", at)
		for i := range 16 {
			if i == 8 {
				c.out.WriteByte(' ')
			}
			if i < n {
				fmt.Fprintf(c.out, " %02x", row[i])
			} else {
				c.out.WriteString("   ")
			}
		}
		c.out.WriteString("  |")
		for _, b := range row[:n] {
			if b < ' ' || b > '~' {
				b = '.'
			}
			c.out.WriteByte(b)
		}
		c.out.WriteString("|\n")
		at += int64(n)
	}
	return nil
}
