package conformance

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A step is a command of a page and what the page says it prints.
type step struct{ command, output string }

// steps are the commands of a page: the indented lines that begin with "$ ", each with the indented lines that follow.
func steps(page string) (all []step) {
	for line := range strings.Lines(page) {
		text, indented := strings.CutPrefix(line, "    ")
		command, prompt := strings.CutPrefix(text, "$ ")
		switch {
		case indented && prompt:
			all = append(all, step{command: strings.TrimSpace(command)})
		case indented && len(all) > 0:
			all[len(all)-1].output += text
		}
	}
	return all
}

var ages = regexp.MustCompile(`\b\d+m?s\b`)

// age matches any age; those of minutes are for machines that are slow.
const age = `(\d+[hms]+)+`

// printed matches what a step's output may be: any for "...", any age for an age, and as many blanks as there are.
func (s *step) printed() *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`^\s*`)
	for _, word := range strings.Fields(ages.ReplaceAllString(s.output, "\x00")) {
		word = strings.ReplaceAll(regexp.QuoteMeta(word), `\.\.\.`, `(?s:.*)`)
		b.WriteString(strings.ReplaceAll(word, "\x00", age) + `\s+`)
	}
	return regexp.MustCompile(b.String() + `$`)
}

// TestDocs runs the commands of every page below docs, in order, against a server of their own, and wants them to print
// what the page says.
func TestDocs(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("kubectl"); err != nil {
		t.Skip("there is no kubectl in PATH; `make setup` installs one")
	}
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("pages %v: %v", pages, err)
	}
	for _, page := range pages {
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			all := steps(string(text))
			if len(all) == 0 {
				t.Fatal("the page has no commands")
			}
			s, dir := own(t), t.TempDir()
			if err := os.CopyFS(filepath.Join(dir, "examples"), os.DirFS("../examples")); err != nil {
				t.Fatal(err)
			}
			for _, step := range all {
				cmd := exec.CommandContext(t.Context(), "sh", "-c", step.command)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "KUBECONFIG="+s.kubeconfig, "KUBECACHEDIR="+filepath.Join(dir, ".cache"))
				out, err := cmd.CombinedOutput()
				if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
					t.Fatal(err)
				}
				if !step.printed().MatchString(string(out) + "\n") {
					t.Fatalf("$ %s\nprints\n%s\nand should print\n%s", step.command, out, step.output)
				}
			}
		})
	}
}
