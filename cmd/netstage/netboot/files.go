package netboot

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"sort"
	"strings"
	"syscall"

	"netstage/cmd/netstage/image"
)

// errNotFound says that there is no file of that name to be served.
var errNotFound = errors.New("not found")

// serveFile answers with a file, or a part of it. It returns errNotFound, or
// why the file can't be read, before anything is written.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request, name string) error {
	if s.options.Reading != nil {
		defer s.options.Reading(name)()
	}
	f, err := s.open(name)
	if err != nil {
		return err
	}
	defer f.file.Close()
	// Nothing is guessed from the content: it is bytes to a machine.
	kind := "application/octet-stream"
	switch path.Ext(name) {
	case ".ipxe", ".sha256", ".minisig", ".txt":
		kind = "text/plain; charset=utf-8"
	case "":
		if path.Base(name) == "cmdline" {
			kind = "text/plain; charset=utf-8"
		}
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("ETag", f.etag)
	http.ServeContent(w, r, "", f.info.ModTime(), f.file)
	return nil
}

// An opened file, and what a client may know it by.
type opened struct {
	file *os.File
	info fs.FileInfo
	etag string
}

// open opens the file that a URL names, without its leading slash.
func (s *Server) open(name string) (opened, error) {
	if !fs.ValidPath(name) || name == "." {
		return opened{}, errNotFound
	}
	if file, ok := s.options.Files[name]; ok {
		return open(openFile, file)
	}
	if s.root == nil {
		return opened{}, errNotFound
	}
	first, rest, below := strings.Cut(name, "/")
	if mac, ok := normalMAC(first); ok && below {
		if folder, ok := machineFolder(s.root.FS(), mac); ok {
			name = folder + "/" + rest
		}
	}
	for _, element := range strings.Split(name, "/") {
		if strings.HasPrefix(element, ".") {
			return opened{}, errNotFound
		}
	}
	f, err := open(func(name string) (*os.File, error) {
		return s.root.OpenFile(name, openFlags, 0)
	}, name)
	if err == nil && (isSecret(name) || f.info.Mode().Perm()&0o004 == 0) {
		f.file.Close()
		return opened{}, fmt.Errorf("%s is not served: it is a secret key, or not readable by everybody", name)
	}
	return f, err
}

// openFlags don't wait for the other end of a pipe.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK

func openFile(path string) (*os.File, error) { return os.OpenFile(path, openFlags, 0) }

func open(with func(string) (*os.File, error), name string) (opened, error) {
	f, err := with(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return opened{}, errNotFound
	} else if err != nil {
		return opened{}, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return opened{}, err
	}
	if !info.Mode().IsRegular() {
		f.Close()
		return opened{}, errNotFound
	}
	return opened{f, info, etag(with, name, info)}, nil
}

// etag is a strong validator: the digest beside the file, which is the same on
// every mirror, else what changes whenever the file does. A digest that is
// older than the file is not of this file.
func etag(with func(string) (*os.File, error), name string, info fs.FileInfo) string {
	if digest, ok := freshDigest(with, name, info); ok {
		return `"sha256-` + digest + `"`
	}
	inode := uint64(0)
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = st.Ino
	}
	return fmt.Sprintf(`"%x-%x-%x"`, inode, info.Size(), info.ModTime().UnixNano())
}

func freshDigest(with func(string) (*os.File, error), name string, of fs.FileInfo) (string, bool) {
	f, err := with(name + ".sha256")
	if err != nil {
		return "", false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.ModTime().Before(of.ModTime()) {
		return "", false
	}
	text := make([]byte, 256)
	n, _ := f.Read(text)
	digest, err := image.ParseDigest(text[:n])
	return digest, err == nil
}

// serveIndex lists what is served at the top, for people.
func (s *Server) serveIndex(w http.ResponseWriter, r *http.Request) {
	names := []string{"boot.ipxe"}
	for name := range s.options.Files {
		names = append(names, name)
	}
	if s.root != nil {
		entries, err := fs.ReadDir(s.root.FS(), ".")
		if err != nil {
			s.options.Log.Warn(err.Error())
		}
		for _, entry := range entries {
			name := entry.Name()
			if strings.HasPrefix(name, ".") || name == "boot.ipxe" {
				continue
			}
			if entry.IsDir() {
				name += "/"
			}
			names = append(names, name)
		}
	}
	sort.Strings(names)
	text := strings.Join(names, "\n") + "\n"
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	if r.Method == http.MethodGet {
		fmt.Fprint(w, text)
	}
}
