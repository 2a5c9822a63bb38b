package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

func kubectlCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "kubectl [ARGUMENTS]",
		Short: "Run kubectl, with the kubeconfig of the data directory when none is set",
		Long: `Kubectl becomes the kubectl that was built beside pintle, or else the one in PATH. It is a program of its own so that the
server neither starts slower nor takes more memory for it.`,
		Example:            "  pintle kubectl get pods --all-namespaces",
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := findKubectl()
			if err != nil {
				return err
			}
			env := os.Environ()
			if os.Getenv("KUBECONFIG") == "" {
				if _, err := os.Stat("pintle-data/kubeconfig"); err == nil {
					env = append(env, "KUBECONFIG=pintle-data/kubeconfig")
				}
			}
			return fmt.Errorf("running %s: %w", path, syscall.Exec(path, append([]string{"kubectl"}, args...), env))
		},
	}
}

// findKubectl looks beside this program first: that one is of the same version.
func findKubectl() (string, error) {
	if self, err := os.Executable(); err == nil {
		if self, err = filepath.EvalSymlinks(self); err == nil {
			beside := filepath.Join(filepath.Dir(self), "pintle-kubectl")
			if _, err := os.Stat(beside); err == nil {
				return beside, nil
			}
		}
	}
	path, err := exec.LookPath("kubectl")
	if err != nil {
		return "", errors.New("there is no pintle-kubectl beside pintle and no kubectl in PATH: build the former with `make build`")
	}
	return path, nil
}
