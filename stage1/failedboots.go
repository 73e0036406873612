package stage1

import (
	"context"
	"fmt"

	"netstage/stage1/bootcount"
)

// recallFailedBoots runs beside the steps: a firmware takes its time. A boot does
// not fail for want of it.
func (b *Boot) recallFailedBoots(ctx context.Context) error {
	count, err := bootcount.Recall(ctx)
	if err != nil {
		b.Log.Debug(fmt.Sprintf("failed boots in a row: %v", err))
	}
	b.failedBoots = count
	return nil
}

// forgetFailedBoots is part of a boot that succeeds.
func (b *Boot) forgetFailedBoots(ctx context.Context) {
	if b.failedBoots.Before == 0 {
		return
	}
	b.Log.Info(fmt.Sprintf("this boot succeeds, after %d that failed", b.failedBoots.Before))
	if err := b.failedBoots.Forget(ctx); err != nil {
		b.Log.Warn(fmt.Sprintf("failed boots in a row: %v", err))
	}
}
