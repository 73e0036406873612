package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"netstage/fetch/vouch"
)

// seedFile is a file or device that is used as a seed.
type seedFile struct {
	*os.File
	size int64
}

// openSeeds opens the files of --seed.
func openSeeds(names []string) (seeds []vouch.Seed, closeAll func(), err error) {
	closeAll = func() {
		for _, s := range seeds {
			s.File.(*seedFile).Close()
		}
	}
	for _, name := range names {
		seed, err := openSeed(name)
		if err != nil {
			closeAll()
			return nil, func() {}, err
		}
		seeds = append(seeds, vouch.Seed{Name: name, File: seed, Size: seed.size})
	}
	return seeds, closeAll, nil
}

func openSeed(name string) (*seedFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("--seed: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = errors.New("is a folder")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("--seed %s: %w", name, err), f.Close())
	}
	size, err := f.Seek(0, io.SeekEnd) // of a device, too
	if err != nil {
		return nil, errors.Join(fmt.Errorf("--seed %s: %w", name, err), f.Close())
	}
	return &seedFile{f, size}, nil
}
