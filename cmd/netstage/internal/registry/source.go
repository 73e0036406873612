package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"netstage/cmd/netstage/internal/output"
	"netstage/cmd/netstage/netboot"
	"netstage/fetch/oci"
	"netstage/fetch/ref"
	"netstage/fetch/vouch"
)

// A Source has what machines boot in a registry: kernels, initrds and kernel
// parameters are kept in a folder, and images are not: machines fetch them from
// the registry. What a tag means is asked again and again, so that a new tag is
// a roll-out. Without the registry it stays what it was.
type Source struct {
	From  ref.Artifact                            // its tag is that of machines without a rule
	Order func(ref.Artifact) (vouch.Order, error) // asks for an artifact
	Rules func() (map[string]string, error)       // tags by MAC address, aa-bb-cc-dd-ee-ff; read each time
	Dir   string                                  // the cache
	Size  int64                                   // of the cache at most, in bytes; 0: half of the room that its disk has
	Log   *slog.Logger
	use   use
	over  bool // the limit, as was told
	mu    sync.Mutex
	tags  map[string]string // digests
	rules map[string]string
}

// Names in the cache, beside artifacts.
const (
	tagsFile   = "tags.json" // what tags meant last
	unfinished = ".new"      // ends the name of an artifact that is not whole
)

// Open makes the cache, and reads what is in it.
func (s *Source) Open() error {
	if err := os.MkdirAll(filepath.Join(s.Dir, artifacts), 0o755); err != nil {
		return err
	}
	s.tags = map[string]string{}
	text, err := os.ReadFile(filepath.Join(s.Dir, tagsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &s.tags); err != nil {
		s.Log.Warn(fmt.Sprintf("what tags meant last is not known: %s: %v", tagsFile, err))
	}
	return nil
}

// Refresh asks the registry what all tags mean, and gets what is new. What it
// can't learn stays as it is.
func (s *Source) Refresh(ctx context.Context) error {
	rules, err := s.Rules()
	if err != nil {
		return err
	}
	wanted := []string{s.From.Tag}
	for _, tag := range rules {
		wanted = append(wanted, tag)
	}
	slices.Sort(wanted)
	var wrong []error
	found := map[string]string{}
	for _, tag := range slices.Compact(wanted) {
		digest, err := s.get(ctx, tag)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("tag %s: %w", tag, err))
			digest = s.tags[tag]
		}
		if digest != "" {
			found[tag] = digest
		}
	}
	s.mu.Lock()
	for tag, digest := range found {
		if before := s.tags[tag]; before != digest {
			s.Log.Info(fmt.Sprintf("tag %s is sha256:%s now, before it was %s", tag, digest, cmp.Or(before, "not known")))
		}
	}
	s.tags, s.rules = found, rules
	s.mu.Unlock()
	return errors.Join(append(wrong, s.remember(ctx, found), s.prune(found, 0))...)
}

// remember writes down what tags mean.
func (s *Source) remember(ctx context.Context, tags map[string]string) error {
	text, err := json.Marshal(tags)
	if err != nil {
		return err
	}
	return output.Text(ctx, filepath.Join(s.Dir, tagsFile), text)
}

// get has the cache hold what a tag means now. A folder is complete when it has
// its name.
func (s *Source) get(ctx context.Context, tag string) (string, error) {
	from := s.From
	if tag != from.Tag {
		from.Tag, from.Digest = tag, ""
	}
	order, err := s.Order(from)
	if err != nil {
		return "", err
	}
	a, err := vouch.Find(ctx, order)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(s.Dir, artifacts, a.Digest)
	if _, err := os.Stat(dir); err == nil {
		return a.Digest, nil
	}
	work := dir + unfinished
	if err := s.makeRoom(a, work); err != nil {
		return "", err
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return "", err
	}
	if _, err := Pull(ctx, a, work, ofLoader); err != nil {
		return "", err
	}
	if a.NoImage() == nil {
		// That it has one, the folder says for as long as it lives.
		if err := os.WriteFile(filepath.Join(work, hasImage), nil, 0o644); err != nil {
			return "", err
		}
	}
	return a.Digest, os.Rename(work, dir)
}

// makeRoom has the cache have room for what work has not yet of an artifact.
func (s *Source) makeRoom(a *vouch.Artifact, work string) error {
	var need int64
	for _, l := range a.Layers {
		if ofLoader(l) {
			need += l.Size
		}
	}
	has, err := sizeOf(work)
	if err != nil {
		return err
	}
	s.mu.Lock()
	tags := maps.Clone(s.tags)
	s.mu.Unlock()
	return s.prune(tags, max(0, need-has))
}

// hasImage marks artifacts with an image.
const hasImage = ".image"

// ofLoader wants what boot loaders load.
func ofLoader(l oci.Descriptor) bool {
	return l.MediaType == oci.TypeKernel || l.MediaType == oci.TypeInitrd || l.MediaType == oci.TypeCmdline
}

// Boot is what a machine boots; mac is empty where it did not tell.
func (s *Source) Boot(mac string) (netboot.Boot, error) {
	s.mu.Lock()
	tag, ruled := s.rules[mac]
	if !ruled {
		tag = s.From.Tag
	}
	digest := s.tags[tag]
	s.mu.Unlock()
	if digest == "" {
		return netboot.Boot{}, fmt.Errorf("%s/%s:%s is not known: the registry has not answered yet, or has no such tag", s.From.Host, s.From.Name, tag)
	}
	s.use.touch(digest, 0)
	folder := filepath.Join(artifacts, digest)
	b, err := netboot.Inspect(os.DirFS(filepath.Join(s.Dir, folder)))
	if err != nil {
		return b, fmt.Errorf("tag %s: %w", tag, err)
	}
	b.Kernel = folder + "/" + b.Kernel
	for i := range b.Initrds {
		b.Initrds[i] = folder + "/" + b.Initrds[i]
	}
	b.Note = "tag " + tag
	if _, err := os.Stat(filepath.Join(s.Dir, folder, hasImage)); err == nil && !netboot.Names(b.Cmdline, "rootfs") && !netboot.Names(b.Cmdline, "rootfs.manifest") {
		from := s.From
		from.Tag, from.Digest = "", digest
		b.Cmdline = strings.TrimSpace("rootfs=" + from.String() + " " + b.Cmdline)
	}
	return b, nil
}

// ParseRules reads which machine boots which tag: a MAC address and a tag on
// each line.
func ParseRules(text string) (map[string]string, error) {
	rules := map[string]string{}
	for i, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		mac, ok := netboot.ParseMAC(words[0])
		if !ok || len(words) != 2 {
			return nil, fmt.Errorf("line %d of the rules is not a MAC address and a tag", i+1)
		}
		if l, err := ref.Parse("oci://host/name:" + words[1]); err != nil || l.Artifact().Tag != words[1] {
			return nil, fmt.Errorf("line %d of the rules: %q is no tag", i+1, words[1])
		}
		rules[mac] = words[1]
	}
	return rules, nil
}
