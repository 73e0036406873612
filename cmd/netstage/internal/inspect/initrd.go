package inspect

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"netstage/stage1/modindex"
)

// Initrd is what an initrd holds.
type Initrd struct {
	Size     int64    // bytes of the file
	Unpacked int64    // bytes
	Archives []string // how each is compressed; "cpio": not at all
	Files    []File   // by name
	Agent    Agent
	Kernels  []string // that it has modules for
	Modules  []string // names, sorted
	Firmware int      // files below lib/firmware
	Images   []Embedded
	Unseen   UnseenError // where the kernel stops looking; 0 where it sees all

	texts map[string][]byte
}

// File is a file of an initrd, or whatever else has a name in it.
type File struct {
	Name string // absolute
	Mode uint32 // as stat(2) has it
	Size int64  // bytes
}

// Regular tells whether it is a plain file.
func (f File) Regular() bool { return f.Mode&unix.S_IFMT == unix.S_IFREG }

// Agent is what /init is.
type Agent struct {
	Stage1  bool   // it is stage1; else nothing is known of it
	Version string // of stage1; empty where it does not say
	Go      string // the toolchain that built it
	Arch    string // GOARCH
	What    string // what it is where it is not stage1
}

// Embedded is an image that is a file of the initrd.
type Embedded struct {
	Name, Kind string
	Size       int64
	SHA256     string // hex
}

const (
	mostText  = 1 << 20  // of a file that is looked into
	mostAgent = 64 << 20 // of /init
)

// IsInitrd tells whether a file that begins with b may be an initrd.
func IsInitrd(b []byte) bool {
	name, _ := compressionOf(b)
	return name != ""
}

// ReadInitrd reads the initrd in file, all its archives. Where a name is there
// twice the later one counts, as for the kernel.
func ReadInitrd(file *os.File) (*Initrd, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	i := &Initrd{Size: info.Size(), texts: map[string][]byte{}, Agent: Agent{What: "there is none"}}
	r := reading{Initrd: i, files: map[string]File{}, images: map[string]Embedded{}}
	if i.Archives, i.Unpacked, err = eachEntry(file, info.Size(), r.add); err != nil && !errors.As(err, &i.Unseen) {
		return nil, fmt.Errorf("initrd: %w", err)
	}
	r.finish()
	return i, nil
}

// Text returns a file of the initrd below etc, or one of depmod's.
func (i *Initrd) Text(name string) ([]byte, bool) {
	text, ok := i.texts[name]
	return text, ok
}

// Below returns the names of the files below a folder.
func (i *Initrd) Below(folder string) []string {
	var names []string
	for _, f := range i.Files {
		if strings.HasPrefix(f.Name, folder+"/") && f.Mode&unix.S_IFMT != unix.S_IFDIR {
			names = append(names, f.Name)
		}
	}
	return names
}

// reading is an initrd on its way.
type reading struct {
	*Initrd
	files  map[string]File
	images map[string]Embedded
}

func (r *reading) add(e entry, data io.Reader) error {
	f := File{Name: path.Join("/", e.name), Mode: e.mode, Size: e.size}
	r.files[f.Name] = f
	delete(r.texts, f.Name)
	delete(r.images, f.Name)
	if !f.Regular() {
		return nil
	}
	switch {
	case f.Name == "/init":
		if f.Size > mostAgent {
			r.Agent = Agent{What: "a file too large to look into"}
			return nil
		}
		text, err := io.ReadAll(data)
		r.Agent = agentOf(text)
		return err
	case isText(f.Name):
		if f.Size > mostText {
			return nil
		}
		text, err := io.ReadAll(data)
		r.texts[f.Name] = text
		return err
	}
	return r.addImage(f, data)
}

// isText tells what is kept to be looked into.
func isText(name string) bool {
	return strings.HasPrefix(name, "/etc/") || strings.HasPrefix(name, "/lib/modules/") && strings.HasPrefix(path.Base(name), "modules.")
}

func (r *reading) addImage(f File, data io.Reader) error {
	begin := make([]byte, min(f.Size, imageStart))
	if _, err := io.ReadFull(data, begin); err != nil {
		return err
	}
	kind := imageKind(begin)
	if kind == "" {
		return nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.MultiReader(bytes.NewReader(begin), data)); err != nil {
		return err
	}
	r.images[f.Name] = Embedded{Name: f.Name, Kind: kind, Size: f.Size, SHA256: hex.EncodeToString(sum.Sum(nil))}
	return nil
}

func (r *reading) finish() {
	kernels, modules := map[string]bool{}, map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		f := r.files[name]
		r.Files = append(r.Files, f)
		if image, ok := r.images[name]; ok {
			r.Images = append(r.Images, image)
		}
		inner := strings.TrimPrefix(name, "/usr") // where /lib is a link
		if f.Regular() && strings.HasPrefix(inner, "/lib/firmware/") {
			r.Firmware++
		}
		if rest, ok := strings.CutPrefix(inner, "/lib/modules/"); ok && modindex.IsModule(name) {
			version, _, _ := strings.Cut(rest, "/")
			kernels[version], modules[modindex.Name(name)] = true, true
		}
	}
	r.Kernels, r.Modules = slices.Sorted(maps.Keys(kernels)), slices.Sorted(maps.Keys(modules))
	// "init" may be a link into a store, as in initrds of NixOS.
	if f, ok := r.files["/init"]; ok && !f.Regular() {
		r.Agent = Agent{What: "a link, as in initrds of others"}
	}
}

// stamp is how the agent holds its version.
var stamp = regexp.MustCompile(`stage1-version\[([!-Z^-~]{1,100})\]`)

func agentOf(init []byte) Agent {
	if bytes.HasPrefix(init, []byte("#!")) {
		line, _, _ := bytes.Cut(init, []byte("\n"))
		return Agent{What: fmt.Sprintf("a script, %.60q", line)}
	}
	info, err := buildinfo.Read(bytes.NewReader(init))
	if err != nil {
		return Agent{What: "another program"}
	}
	if info.Path != "netstage/cmd/stage1" {
		return Agent{What: fmt.Sprintf("another program, %.60q", info.Path)}
	}
	a := Agent{Stage1: true, Go: info.GoVersion}
	for _, s := range info.Settings {
		switch s.Key {
		case "GOARCH":
			a.Arch = s.Value
		}
	}
	if m := stamp.FindSubmatch(init); m != nil {
		a.Version = string(m[1])
	}
	return a
}
