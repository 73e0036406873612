package uki

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// sign signs a PE file in place, by sbsign.
func sign(ctx context.Context, file, key, cert string) error {
	cmd := exec.CommandContext(ctx, "sbsign", "--key", key, "--cert", cert, "--output", file, file)
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return errors.New("sbsign is not installed: it is in the package sbsigntool (nixpkgs: sbsigntool); or sign the file later")
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("sbsign: %w: %s", err, strings.Join(strings.Fields(string(out)), " "))
	}
	return nil
}
