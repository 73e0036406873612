package registry

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// How long an artifact stays that no tag means any more: a machine may be
// loading it. What loads one has begun within the shorter time; the longer is
// for the way back, as far as there is room.
const (
	keepFor = 24 * time.Hour
	loading = 10 * time.Minute
)

// artifacts is the folder of the cache with a folder for each digest.
const artifacts = "artifacts"

// use tells which artifacts machines are loading.
type use struct {
	mu   sync.Mutex
	now  map[string]int       // requests that run
	last map[string]time.Time // when one was handed out, or read
}

func (u *use) touch(digest string, requests int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.now == nil {
		u.now, u.last = map[string]int{}, map[string]time.Time{}
	}
	if u.now[digest] += requests; u.now[digest] == 0 {
		delete(u.now, digest)
	}
	u.last[digest] = time.Now()
}

// of tells whether an artifact is being read, and when that was last.
func (u *use) of(digest string) (running bool, last time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.now[digest] > 0, u.last[digest]
}

// Reading is told of a request for a file of the cache, which is over when the
// function is called that it returns.
func (s *Source) Reading(name string) (over func()) {
	parts := strings.Split(name, "/")
	if len(parts) < 2 || parts[0] != artifacts {
		return func() {}
	}
	s.use.touch(parts[1], 1)
	return func() { s.use.touch(parts[1], -1) }
}

// An entry is an artifact of the cache, or what there is of one.
type entry struct {
	digest, path string
	size         int64
	used         time.Time // when a tag meant it last
}

// entries are those of the cache, the oldest first.
func (s *Source) entries() (all []entry, total int64, err error) {
	folders, err := os.ReadDir(filepath.Join(s.Dir, artifacts))
	if err != nil {
		return nil, 0, err
	}
	for _, f := range folders {
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		e := entry{digest: strings.TrimSuffix(f.Name(), unfinished), path: filepath.Join(s.Dir, artifacts, f.Name()), used: info.ModTime()}
		if e.size, err = sizeOf(e.path); err != nil {
			return nil, 0, err
		}
		all, total = append(all, e), total+e.size
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.digest, b.digest)) })
	return all, total, nil
}

// sizeOf is what the files of a folder take on the disk.
func sizeOf(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil {
			total += st.Blocks * 512
		}
		return nil
	})
	return total, err
}

// limit is how large the cache may be that has so much.
func (s *Source) limit(has int64) (int64, error) {
	if s.Size > 0 {
		return s.Size, nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(s.Dir, &st); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: s.Dir, Err: err}
	}
	return (has + int64(st.Bavail)*st.Bsize) / 2, nil
}

// prune removes artifacts that no tag has meant for long and, the oldest first,
// as many others as there have to be less for need bytes more. What tags mean
// and what machines are loading stays, even if that is more than the limit.
func (s *Source) prune(tags map[string]string, need int64) error {
	all, total, err := s.entries()
	if err != nil {
		return err
	}
	limit, err := s.limit(total)
	if err != nil {
		return err
	}
	meant := map[string]bool{}
	for _, digest := range tags {
		meant[digest] = true
	}
	now := time.Now()
	for _, e := range all {
		running, last := s.use.of(e.digest)
		switch {
		case meant[e.digest] && e.path == filepath.Join(s.Dir, artifacts, e.digest):
			if err := os.Chtimes(e.path, now, now); err != nil {
				return err
			}
			continue
		case running:
			continue
		case now.Sub(e.used) > keepFor:
		case total+need > limit && now.Sub(e.used) > loading && now.Sub(last) > loading:
			s.Log.Info(fmt.Sprintf("sha256:%s, which no tag means any more, leaves the cache: with it there would be %d MiB of at most %d", e.digest, (total+need)>>20, limit>>20))
		default:
			continue
		}
		if err := os.RemoveAll(e.path); err != nil {
			return err
		}
		total -= e.size
	}
	over := total+need > limit
	if over && !s.over {
		s.Log.Warn(fmt.Sprintf("the cache needs %d MiB, more than the %d MiB that it may have: all of it is what tags mean, or what machines are loading", (total+need)>>20, limit>>20))
	}
	s.over = over
	return nil
}
