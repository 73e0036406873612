package modindex

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// CompressionOf returns the kernel's word (as in /sys/module/compression) for a
// file's compression by its suffix; empty for a plain file.
func CompressionOf(path string) string {
	switch filepath.Ext(path) {
	case ".xz":
		return "xz"
	case ".zst":
		return "zstd"
	case ".gz":
		return "gzip"
	}
	return ""
}

// Decompress reads xz, zstd or gzip (the kernel's words for them), or plain
// bytes where kind is empty.
func Decompress(r io.Reader, kind string) (io.ReadCloser, error) {
	switch kind {
	case "":
		return io.NopCloser(r), nil
	case "xz":
		x, err := xz.NewReader(bufio.NewReaderSize(r, 64<<10)) // it reads byte by byte
		if err != nil {
			return nil, err
		}
		return io.NopCloser(x), nil
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case "gzip":
		return gzip.NewReader(r)
	}
	return nil, fmt.Errorf("unknown compression %q", kind)
}
