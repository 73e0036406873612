package debug

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"netstage/stage1/fault"
)

const document = "../docs/when-boot-stalls.md"

// screenBlocks are the screens in the document: indented, from the head to the
// keys.
var screenBlocks = regexp.MustCompile(`(?m)^    === boot failed: ([a-z0-9-]+) =+\n(?:    .*\n)+`)

// The screens that the document shows are those that the agent shows.
func TestDocumentShowsTheScreens(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	rendered := screenBlocks.ReplaceAllStringFunc(string(text), func(block string) string {
		found++
		class := fault.Class(screenBlocks.FindStringSubmatch(block)[1])
		f, ok := realScreens()[class]
		if !ok {
			t.Errorf("the screen of %s is not a real one", class)
			return block
		}
		f.Class = class
		screen := strings.TrimSuffix(Screen(f, 80, 23, keysAfter(f.Step, class)), "\n")
		want := "    " + strings.ReplaceAll(screen, "\n", "\n    ") + "\n"
		if block != want && !*update {
			t.Errorf("the screen of %s is another one by now (-update writes it anew):\n%s", class, block)
		}
		return want
	})
	if found < 9 {
		t.Errorf("only %d screens", found)
	}
	if *update {
		if err := os.WriteFile(document, []byte(rendered), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Its pictures are there, and small.
func TestDocumentHasItsPictures(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	pictures := regexp.MustCompile(`\]\(([a-z-]+\.png)\)`).FindAllStringSubmatch(string(text), -1)
	if len(pictures) < 2 {
		t.Errorf("only %d pictures", len(pictures))
	}
	for _, p := range pictures {
		info, err := os.Stat(filepath.Join(filepath.Dir(document), p[1]))
		if err != nil {
			t.Error(err)
		} else if info.Size() > 40<<10 {
			t.Errorf("%s has %d bytes", p[1], info.Size())
		}
	}
}

// The classes in the document's table are those that have advice, and all of
// them.
func TestDocumentHasTheClasses(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Classes\n")
	section, _, _ = strings.Cut(section, "\n## ")
	told := map[fault.Class]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?) \\|").FindAllStringSubmatch(section, -1) {
		for _, word := range regexp.MustCompile("`([a-z0-9-]+)`").FindAllStringSubmatch(row[1], -1) {
			told[fault.Class(word[1])] = true
		}
	}
	if len(told) < 20 {
		t.Errorf("only %d classes are found in the document's table", len(told))
	}
	for class := range told {
		if !class.Known() {
			t.Errorf("the document's table has the class %q, which has no advice", class)
		}
	}
	for class := range examples() {
		kin := class == "http-503" || class == "something-new" // of http-404, and of no class that there is
		if !told[class] && !kin {
			t.Errorf("the document's table lacks the class %q", class)
		}
	}
}
