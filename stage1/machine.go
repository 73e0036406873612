package stage1

import (
	"context"
	"encoding/hex"
	"os"
	"path/filepath"

	"netstage/stage1/image"
	"netstage/stage1/measure"
)

// openMachine runs beside the network: a TPM takes its time. A boot does not
// fail for want of one.
func (b *Boot) openMachine(ctx context.Context) error {
	root := os.DirFS(initramfs)
	policy, err := measure.Policy(root)
	if err != nil {
		b.Log.Warn(err.Error())
	}
	line, err := os.ReadFile(filepath.Join(initramfs, "proc/cmdline"))
	if err != nil {
		return err
	}
	b.machine.Open(ctx, len(b.config.Manifest) > 0, b.config.ReportTo != "", policy, measure.Cmdline(string(line)))
	return nil
}

// measureImage tells the TPM which image it will be, before anything of it is
// looked at.
func (b *Boot) measureImage(got *image.Image) {
	r := got.Report
	i := measure.Image{Init: b.config.Init, SHA256: unhex(r.SHA256), RootHash: unhex(r.RootHash)}
	if r.Manifest != nil {
		i.Manifest = unhex(r.Manifest.Digest)
	}
	b.machine.Measure(i.Event())
}

// unhex reads a digest; nil where there is none.
func unhex(text string) []byte {
	digest, err := hex.DecodeString(text)
	if err != nil || len(digest) == 0 {
		return nil
	}
	return digest
}

// remember keeps the serial of what is about to be started: the image is
// verified, mounted, and its init proven, so that one that can't be had or
// mounted does not lock out the last good one.
func (b *Boot) remember(ctx context.Context) error {
	m := b.image.Report.Manifest
	if m == nil || b.config.Check {
		return nil
	}
	err := b.machine.Remember(ctx, m.Name, m.Serial, m.KeyList)
	if err != nil && !b.config.Policy.RequireMemory {
		b.Log.Warn("rollback", "err", err)
		return nil
	}
	return err
}
