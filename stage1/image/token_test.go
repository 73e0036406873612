package image

import (
	"os"
	"path/filepath"
	"testing"

	"netstage/stage1/config"
)

// The token of reports goes to the server that its file names, and no other; a
// file that is none is told of.
func TestReportToken(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, config.ReportToken)
	if got, err := ReportToken("https://reports.example/reports", root); got != "" || err != nil {
		t.Errorf("no file: %q, %v", got, err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text, to, want string
		fails          bool
	}{
		{`{"origin": "https://reports.example", "token": "geheim"}`, "https://reports.example/reports", "geheim", false},
		{`{"origin": "https://reports.example", "token": "geheim"}`, "https://reports.example:443/", "geheim", false},
		{`{"origin": "https://reports.example", "token": "geheim"}`, "http://reports.example/reports", "", false},
		{`{"origin": "https://reports.example", "token": "geheim"}`, "https://attacker.example/reports", "", false},
		{`{"origin": "https://reports.example", "token": "geheim"}`, "", "", false},
		{"geheim", "https://reports.example/reports", "", true},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReportToken(c.to, root); got != c.want || (err != nil) != c.fails {
			t.Errorf("%s to %s: %q, %v", c.text, c.to, got, err)
		}
	}
}
