package stage1

import (
	"context"
	"fmt"
	"log/slog"

	"netstage/stage1/bootcount"
)

// recallFailedBoots runs beside the steps: a firmware takes its time. A boot
// does not fail for want of it.
func (b *Boot) recallFailedBoots(ctx context.Context) error {
	count, err := bootcount.Recall(ctx)
	if err != nil {
		b.Log.Debug("failed boots in a row", "err", err)
	}
	b.failedBoots = count
	return nil
}

// forgetFailedBoots is part of a boot that succeeds.
func forgetFailedBoots(ctx context.Context, log *slog.Logger, failed bootcount.Count) {
	if failed.Before == 0 {
		return
	}
	log.Info(fmt.Sprintf("this boot succeeds, after %d that failed", failed.Before))
	if err := failed.Forget(ctx); err != nil {
		log.Warn("failed boots in a row", "err", err)
	}
}
