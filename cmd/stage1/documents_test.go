package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLinksOfDocuments: what the documents link to, and the files that they
// name, are there; README is short.
func TestLinksOfDocuments(t *testing.T) {
	var documents []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, found...)
	}
	links := 0
	for _, document := range documents {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`).FindAllStringSubmatch(string(text), -1) {
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), m[1])); err != nil {
				t.Errorf("%s: %v", document, err)
			}
		}
		if filepath.Base(document) == "README.md" && strings.Count(string(text), "\n") > 150 {
			t.Errorf("%s has more than 150 lines", document)
		}
	}
	if links < 40 {
		t.Errorf("only %d links", links)
	}
}

// TestFoldersOfTheArchitecture: every folder of its table is there.
func TestFoldersOfTheArchitecture(t *testing.T) {
	text, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Folders\n")
	section, _, _ = strings.Cut(section, "\n## ")
	folders := 0
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(section, -1) {
		names := []string{row[1]}
		if before, rest, braces := strings.Cut(row[1], "{"); braces {
			names = nil
			for name := range strings.SplitSeq(strings.TrimSuffix(rest, "}"), ",") {
				names = append(names, before+name)
			}
		}
		for _, name := range names {
			folders++
			if info, err := os.Stat("../../" + name); err != nil || !info.IsDir() {
				t.Errorf("%s: no folder", name)
			}
		}
	}
	if folders < 20 {
		t.Errorf("only %d folders", folders)
	}
}
