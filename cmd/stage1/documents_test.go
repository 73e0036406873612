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

// spread is a name with braces as the names it stands for: a/{b,c} is a/b, a/c.
func spread(name string) []string {
	before, rest, braces := strings.Cut(name, "{")
	if !braces {
		return []string{name}
	}
	var names []string
	for inner := range strings.SplitSeq(strings.TrimSuffix(rest, "}"), ",") {
		names = append(names, before+inner)
	}
	return names
}

// between is the section of a document below a heading.
func between(t *testing.T, document, heading string) string {
	t.Helper()
	text, err := os.ReadFile("../../" + document)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", document, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

// TestFoldersOfTheArchitecture: every folder of its table is there, and every
// package is in it, by its folder or by a name in the row of one above it.
func TestFoldersOfTheArchitecture(t *testing.T) {
	named := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|(.*)").FindAllStringSubmatch(between(t, "ARCHITECTURE.md", "Folders"), -1) {
		for _, folder := range spread(row[1]) {
			if info, err := os.Stat("../../" + folder); err != nil || !info.IsDir() {
				t.Errorf("%s: no folder", folder)
			}
			named[folder] = true
			for _, word := range regexp.MustCompile("`([a-z][^` ]*)`").FindAllStringSubmatch(row[2], -1) {
				for _, below := range spread(word[1]) {
					named[folder+"/"+below] = true
				}
			}
		}
	}
	packages := goList(t, "-f", "{{.ImportPath}}", "netstage/...")
	for _, pkg := range packages {
		if folder := strings.TrimPrefix(pkg, "netstage/"); !named[folder] {
			t.Errorf("ARCHITECTURE.md names no %s", folder)
		}
	}
	if len(packages) < 80 {
		t.Errorf("only %d packages", len(packages))
	}
}

// TestWalksOfContributing: what a step of them names is in the file it links
// to, and where its command goes is there.
func TestWalksOfContributing(t *testing.T) {
	steps := regexp.MustCompile(`(?m)^\d+\. `).Split(between(t, "CONTRIBUTING.md", "Two walks"), -1)[1:]
	identifiers := 0
	for _, step := range steps {
		step, _, _ = strings.Cut(step, "\n\n")
		link := regexp.MustCompile(`\]\(([^)]+)\)`).FindStringSubmatch(step)
		if link == nil {
			t.Errorf("a step without a file: %s", step)
			continue
		}
		source, err := os.ReadFile("../../" + link[1])
		if err != nil {
			t.Error(err)
			continue
		}
		for _, code := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(step, -1) {
			switch name := code[1]; {
			case regexp.MustCompile(`^[\w.]*[a-z][A-Z]\w*$|^(\w+\.)?[A-Z]\w*$`).MatchString(name):
				identifiers++
				if !regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`).Match(source) {
					t.Errorf("%s has no %s", link[1], name)
				}
			case strings.HasSuffix(name, ".go"):
				if _, err := os.Stat("../../" + filepath.Join(filepath.Dir(link[1]), name)); err != nil {
					t.Error(err)
				}
			default:
				for _, folder := range regexp.MustCompile(`\./[\w/-]+`).FindAllString(name, -1) {
					if _, err := os.Stat("../../" + folder); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
		}
	}
	if len(steps) < 8 || identifiers < 5 {
		t.Errorf("only %d steps with %d identifiers", len(steps), identifiers)
	}
}
