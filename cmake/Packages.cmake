# Debian packages, one for each component of the installation:
#     cmake --preset package && cmake --build --preset package && cpack --preset package
set(ALPS_PACKAGER "ALPS <alps@alps.invalid>" CACHE STRING
    "Name and address of who makes the packages")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME alps)
set(CPACK_PACKAGE_CONTACT "${ALPS_PACKAGER}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "") # each has its own
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR}/alps ${PROJECT_BINARY_DIR}/emu)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL)

# What each package has to say of itself.
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
configure_file(cmake/debian-changelog.in changelog @ONLY)
configure_file(cmake/debian-copyright.in copyright @ONLY)
execute_process(COMMAND gzip -9nf changelog WORKING_DIRECTORY ${PROJECT_BINARY_DIR}
    COMMAND_ERROR_IS_FATAL ANY)

# The linker's cache is renewed for libraries, and others learn which package has them.
set(same "(= ${PROJECT_VERSION})")
file(WRITE ${PROJECT_BINARY_DIR}/control/triggers "activate-noawait ldconfig\n")
file(WRITE ${PROJECT_BINARY_DIR}/control/runtime/shlibs "libalps 0 libalps0 ${same}\n")
file(WRITE ${PROJECT_BINARY_DIR}/control/emulator/shlibs
    "libalps-emu 0 alps-emu ${same}\nlibemu 0 alps-emu ${same}\n")
foreach(component IN ITEMS runtime emulator)
    string(TOUPPER ${component} upper)
    set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA
        ${PROJECT_BINARY_DIR}/control/triggers ${PROJECT_BINARY_DIR}/control/${component}/shlibs)
endforeach()

# alps_package(COMPONENT NAME SECTION SUMMARY TEXT [DEPENDS...])
function(alps_package component name section summary text)
    install(FILES ${PROJECT_BINARY_DIR}/copyright ${PROJECT_BINARY_DIR}/changelog.gz
        DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/${name} COMPONENT ${component})
    list(JOIN ARGN ", " depends)
    string(TOUPPER ${component} upper)
    foreach(setting
            "DEBIAN_${upper}_PACKAGE_NAME;${name}" "DEBIAN_${upper}_PACKAGE_SECTION;${section}"
            "DEBIAN_${upper}_PACKAGE_DEPENDS;${depends}"
            "DEBIAN_${upper}_DESCRIPTION;${summary}\n${text}")
        list(POP_FRONT setting key)
        set(CPACK_${key} "${setting}" PARENT_SCOPE)
    endforeach()
    set(CPACK_COMPONENTS_ALL ${CPACK_COMPONENTS_ALL} ${component} PARENT_SCOPE)
endfunction()

alps_package(runtime libalps0 libs "heap shared by processes that may crash"
    "Processes allocate from one heap, in memory that they share, such as /dev/shm,\npersistent memory or fabric-attached memory. Any process frees what another one\nallocated, and one that is killed anywhere leaves a heap that the others go on\nusing.")
alps_package(development libalps-dev libdevel "heap shared by processes that may crash - development"
    "Headers for C and C++, the static library, files for CMake and pkg-config,\nmanual pages and examples."
    "libalps0 ${same}" "libnuma-dev")
alps_package(tools alps-tools utils "heap shared by processes that may crash - tool"
    "The program alps makes, examines and cleans up heaps, and runs programs with\ntheir malloc on one."
    "libalps0 ${same}")
alps_package(emulator alps-emu utils "emulator of fabric-attached memory"
    "A library with its headers, programs that look at the machine and at how true\nthe emulation is, and a test bed of guests of QEMU that share memory.")
if(TARGET alps-bench)
    alps_package(bench alps-bench utils "benchmarks of allocators in memory that processes share"
        "The classic workloads of allocators, and what recovery after a crash takes."
        "libalps0 ${same}" "alps-emu ${same}")
endif()
if(TARGET alps-mpi-stress)
    alps_package(mpi alps-mpi utils "drivers of heaps that MPI jobs share"
        "Ranks of an MPI job that allocate, relocate, crash and shuffle in one heap."
        "libalps0 ${same}" "alps-emu ${same}")
endif()
include(CPack)
