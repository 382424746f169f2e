# Settings of Open MPI for a machine with fewer processors than ranks; to be sourced before mpirun.
# shellcheck shell=sh
if [ "$(id -u)" -eq 0 ]; then # in containers, where there is nobody else
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
export OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_btl_vader_single_copy_mechanism=none # needs ptrace, which containers may forbid
