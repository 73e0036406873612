package verity

import "sync"

// inShares calls check for runs of the blocks 0 to blocks-1, one for each
// hasher and all at once. A check returns the number of good blocks from block
// 0 on, and stops at the first wrong one; the earliest of those counts.
func inShares(hashers []*hasher, blocks int64, check func(h *hasher, first, last int64) (int64, error)) (int64, error) {
	share := (blocks + int64(len(hashers)) - 1) / int64(len(hashers))
	wrong := make([]error, len(hashers))
	good := make([]int64, len(hashers))
	var wait sync.WaitGroup
	for i, h := range hashers {
		first, last := min(int64(i)*share, blocks), min(int64(i+1)*share, blocks)
		run := func() { good[i], wrong[i] = check(h, first, last) }
		if i == len(hashers)-1 {
			run()
			continue
		}
		wait.Go(run)
	}
	wait.Wait()
	for i := range hashers {
		if wrong[i] != nil {
			return good[i], wrong[i]
		}
	}
	return blocks, nil
}

// newHashers are for so many blocks at once, at least one.
func newHashers(salt []byte, workers int) []*hasher {
	list := []*hasher{newHasher(salt)}
	for len(list) < workers {
		list = append(list, newHasher(salt))
	}
	return list
}
