package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/client-go/tools/clientcmd"
)

// TestKubectl runs the scripts with the kubectl in PATH. Each has a namespace of its own, $NS, which is its kubeconfig's
// default, and the manifests of the repository's examples in examples/. Beside testscript's commands there are
//
//	kubectl ARG...          run kubectl; `! kubectl` wants it to fail
//	until REGEXP ARG...     run `kubectl ARG...` until its standard output matches
//	server [FLAG...]        start a server for this script alone, with the namespace default, and go on with that
func TestKubectl(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("kubectl"); err != nil {
		t.Skip("there is no kubectl in PATH; `make setup` installs one")
	}
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			name := fmt.Sprintf("s%d", namespaces.Add(1))
			create := exec.Command("kubectl", "--kubeconfig", shared.kubeconfig, "create", "namespace", name)
			create.Env = append(os.Environ(), "KUBECACHEDIR="+filepath.Join(env.WorkDir, ".cache"))
			if out, err := create.CombinedOutput(); err != nil {
				return fmt.Errorf("creating the namespace of the script: %w\n%s", err, out)
			}
			if err := insist(func() error { return shared.complete(context.Background(), name) }); err != nil {
				return err
			}
			env.Setenv("NS", name)
			env.Setenv("KUBECACHEDIR", filepath.Join(env.WorkDir, ".cache"))
			env.Setenv("KUBECONFIG", filepath.Join(env.WorkDir, ".kubeconfig"))
			if err := os.CopyFS(filepath.Join(env.WorkDir, "examples"), os.DirFS("../examples")); err != nil {
				return err
			}
			return use(shared, env.Getenv("KUBECONFIG"), name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"kubectl": kubectl,
			"until":   until,
			"server":  startServer,
		},
	})
}

// use writes the kubeconfig of s with a default namespace to file.
func use(s *server, file, namespace string) error {
	config, err := clientcmd.LoadFromFile(s.kubeconfig)
	if err != nil {
		return err
	}
	config.Contexts[config.CurrentContext].Namespace = namespace
	return clientcmd.WriteToFile(*config, file)
}

func kubectl(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("kubectl", args...)
	if exit := (*exec.ExitError)(nil); neg && errors.As(err, &exit) && exit.Exited() {
		return
	}
	if neg {
		ts.Fatalf("kubectl %s: want it to fail, got %v", strings.Join(args, " "), err)
	}
	ts.Check(err)
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP ARG...")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := ts.Exec("kubectl", args[1:]...)
		if err == nil && want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("kubectl %s never printed %q (last error: %v)", strings.Join(args[1:], " "), args[0], err)
		}
	}
}

func startServer(ts *testscript.TestScript, neg bool, flags []string) {
	if neg {
		ts.Fatalf("unsupported: ! server")
	}
	dir := ts.MkAbs(".server")
	ts.Check(os.Mkdir(dir, 0o755))
	s, err := start(dir, flags...)
	ts.Check(err)
	ts.Defer(func() { ts.Check(s.stop()) })
	ts.Check(insist(func() error { return s.complete(context.Background(), "default") }))
	ts.Check(use(s, ts.Getenv("KUBECONFIG"), "default"))
}
