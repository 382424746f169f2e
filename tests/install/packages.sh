#!/usr/bin/env bash
# The Debian packages: they are built, lintian finds no errors, every installed file is in one of
# them, and what they hold runs. With the argument "core" it is those without benchmark and drivers,
# which take less time to build; with "clean-root" all are installed in a root of nothing but a
# minimal Debian instead, and run there. SOURCE is the tree, WORK a directory for the build, which
# may stay; CC and CXX compile.
. "$(dirname "$0")/../support/program.sh"

for tool in dpkg-deb dpkg-shlibdeps; do
    if ! command -v $tool >/dev/null; then
        echo "skipped install.packages: $tool is not installed"
        exit 77
    fi
done
all=ON
[ "${1-}" != core ] || all=OFF
run 0 cmake --fresh --preset package -S "${SOURCE:?}" -B "${WORK:?}" -DCMAKE_C_COMPILER="$CC" \
    -DCMAKE_CXX_COMPILER="$CXX" -DALPS_BUILD_BENCH=$all -DALPS_BUILD_MPI=$all
run 0 cmake --build "$WORK"
rm -rf "$WORK/packages"
(cd "$WORK" && run 0 cpack && verdict) || exit 1
packages=("$WORK"/packages/*.deb)
version=$("$WORK/alps/tools/alps" --version | cut -d' ' -f2)

if [ "${1-}" = clean-root ]; then
    if ! command -v mmdebstrap >/dev/null; then
        echo "skipped install.clean_root: mmdebstrap is not installed"
        exit 77
    fi
    # The packages lie in the root while it is made; everything else comes from Debian.
    # shellcheck disable=SC2016 # for the shell that runs it
    run 0 mmdebstrap --variant=apt \
        --customize-hook='mkdir "$1/packages"' \
        --customize-hook="copy-in ${packages[*]} /packages" \
        --customize-hook='chroot "$1" sh -c "apt-get install -y --no-install-recommends \
            /packages/*.deb && rm -r /packages"' \
        --customize-hook='chroot "$1" alps create --size 16M /heap' \
        --customize-hook='chroot "$1" alps check /heap' \
        --customize-hook='chroot "$1" alps run ls /' \
        --customize-hook='chroot "$1" emu-topology --profiles' \
        --customize-hook='chroot "$1" alps-bench --workloads trace --backends alps --rounds 1 \
            --scale 0.01 --heap /bench' \
        --customize-hook='chroot "$1" apt-get purge -y libalps0 alps-emu' \
        --customize-hook='test ! -e "$1/usr/bin/alps"' \
        bookworm /dev/null
    equals 'what alps check says there' "$(cat "$dir/out" "$dir/err" | grep '^/heap: clean')" \
        '/heap: clean'
    verdict
fi

names=$(for package in "${packages[@]}"; do dpkg-deb -f "$package" Package; done | tr '\n' ' ')
core='alps-emu alps-tools libalps-dev libalps0 '
if [ $all = ON ]; then
    equals 'packages' "${names/alps-mpi /}" "alps-bench $core"
else
    equals 'packages' "$names" "$core"
fi
for package in "${packages[@]}"; do
    equals "version of ${package##*/}" "$(dpkg-deb -f "$package" Version)" "$version"
    run 0 dpkg-deb -x "$package" "$dir/root"
done
equals 'what libalps-dev needs' "$(dpkg-deb -f "$WORK"/packages/libalps-dev_* Depends)" \
    "libalps0 (= $version), libnuma-dev"
run 0 env DESTDIR="$dir/all" cmake --install "$WORK"
equals 'what is in no package, or is not installed' \
    "$(diff <(cd "$dir/all" && find . -type f,l | sort) <(cd "$dir/root" && find . -type f,l | sort))" ''

root=$dir/root/usr
LD_LIBRARY_PATH=$(dirname "$(find "$root" -name libalps.so.0)")
export LD_LIBRARY_PATH
equals 'programs with paths to libraries' \
    "$(readelf -d "$root"/bin/* 2>/dev/null | grep -E 'RPATH|RUNPATH')" ''
run 0 "$root/bin/alps" create --size 16M "$dir/heap"
run 0 "$root/bin/alps" check "$dir/heap"
if [ $all = ON ]; then
    run 0 "$root/bin/alps-bench" --workloads trace --backends alps --rounds 1 --scale 0.01
fi

if command -v lintian >/dev/null; then
    run 0 lintian --allow-root --fail-on error "${packages[@]}"
else
    echo "skipped install.lintian: lintian is not installed"
fi
verdict
