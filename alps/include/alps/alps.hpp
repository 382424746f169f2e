/* ALPS for C++17: pointers, an allocator and an owner of handles, all inline, on top of alps.h.
 *
 * The model
 * ---------
 * Objects live in a heap that several processes map, each at another address. They may hold
 * alps::ptr<T>, which is good in all of them, and containers with alps::allocator<T>:
 *
 *     template <class T> using vector = std::vector<T, alps::allocator<T>>;
 *
 *     alps::heap heap("/dev/shm/demo");
 *     auto *numbers = heap.construct<vector<int>>(heap);
 *     heap.set_root("numbers", numbers);
 *
 * and in another process
 *
 *     alps::heap heap("/dev/shm/demo");
 *     heap.root<vector<int>>("numbers")->push_back(1);
 *
 * Of libstdc++'s containers, vector and deque take such pointers; basic_string, list, map, set and
 * the unordered ones do not, but those of Boost.Container do, and all of libc++'s. Containers in
 * containers need the allocator each; a scoped_allocator_adaptor hands it down (Boost's, in Boost's
 * containers).
 *
 * Virtual functions, references, plain pointers, and anything else that holds an address have no
 * meaning in another process. Processes that share an object must be compiled alike, and keep out
 * of each other's way: by a mutex with PTHREAD_PROCESS_SHARED, for example.
 *
 * Errors
 * ------
 * Exceptions: std::bad_alloc if the heap is full, otherwise std::system_error with the errno value
 * in std::generic_category and alps_error_detail() in its text. Freeing by an allocator, and
 * closing, throw nothing: what cannot be freed stays allocated.
 */
#ifndef ALPS_ALPS_HPP
#define ALPS_ALPS_HPP

#include <alps/alps.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace alps
{

/* Throws what a result of the functions of alps.h stands for, if it is below 0; returns it if not:
 * alps::must(alps_bulk_free(heap.get(), 7)). */
inline int must(int result)
{
    if (result == -ENOMEM)
        throw std::bad_alloc();
    if (result < 0) {
        const char *detail = alps_error_detail();
        throw std::system_error(-result, std::generic_category(),
                                *detail != '\0' ? detail : alps_strerror(result));
    }
    return result;
}

/* ---- pointers ------------------------------------------------------------------------------ */

/* A pointer that holds how far it is from where it points to. So it means the same in every process
 * if both lie in the heap, and costs an addition. It may also lie elsewhere, as iterators do on a
 * stack, and is then as good as a plain pointer, in this process. Copied bytewise (memcpy,
 * alps_realloc, alps_migrate) it loses its target. Bytes that are all zero are a null pointer. */
template <class T> class ptr
{
    static_assert(!std::is_function_v<T>, "code has another address in each process");

    template <class U>
    static constexpr bool is_implicit = !std::is_same_v<U, T> && std::is_convertible_v<U *, T *>;
    template <class From, class To, class = void> struct is_castable : std::false_type {
    };
    template <class From, class To>
    struct is_castable<From, To, std::void_t<decltype(static_cast<To *>(std::declval<From *>()))>>
        : std::true_type {
    };

  public:
    using element_type = T;
    using value_type = std::remove_cv_t<T>;
    using pointer = ptr;
    /* Of void there is none, but traits name it. */
    using reference = std::conditional_t<std::is_void_v<T>, char, T> &;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::random_access_iterator_tag;
    template <class U> using rebind = ptr<U>;

    ptr() noexcept = default;
    ptr(T *target) noexcept
    {
        set(target);
    }
    ptr(const ptr &other) noexcept
    {
        set(other.get());
    }
    template <class U, std::enable_if_t<is_implicit<U>, int> = 0> ptr(const ptr<U> &other) noexcept
    {
        set(other.get());
    }
    /* As static_cast does: from void, and down from a base. */
    template <class U, std::enable_if_t<
                           !std::is_convertible_v<U *, T *> && is_castable<U, T>::value, int> = 0>
    explicit ptr(const ptr<U> &other) noexcept
    {
        set(static_cast<T *>(other.get()));
    }
    ptr &operator=(const ptr &other) noexcept
    {
        set(other.get());
        return *this;
    }

    T *get() const noexcept
    {
        return distance_ == 0 ? nullptr : target();
    }
    T *operator->() const noexcept
    {
        return get();
    }
    reference operator*() const noexcept
    {
        return *target();
    }
    reference operator[](difference_type i) const noexcept
    {
        return target()[i];
    }
    explicit operator bool() const noexcept
    {
        return distance_ != 0;
    }
    explicit operator T *() const noexcept
    {
        return get();
    }
    template <class U> static ptr pointer_to(U &object) noexcept
    {
        return ptr(std::addressof(object));
    }

    ptr &operator+=(difference_type n) noexcept
    {
        set(get() + n);
        return *this;
    }
    ptr &operator-=(difference_type n) noexcept
    {
        return *this += -n;
    }
    ptr &operator++() noexcept
    {
        return *this += 1;
    }
    ptr &operator--() noexcept
    {
        return *this -= 1;
    }
    ptr operator++(int) noexcept
    {
        ptr before(*this);
        ++*this;
        return before;
    }
    ptr operator--(int) noexcept
    {
        ptr before(*this);
        --*this;
        return before;
    }
    friend ptr operator+(const ptr &p, difference_type n) noexcept
    {
        return ptr(p.get() + n);
    }
    friend ptr operator+(difference_type n, const ptr &p) noexcept
    {
        return ptr(p.get() + n);
    }
    friend ptr operator-(const ptr &p, difference_type n) noexcept
    {
        return ptr(p.get() - n);
    }
    friend difference_type operator-(const ptr &a, const ptr &b) noexcept
    {
        return a.get() - b.get();
    }

    friend bool operator==(const ptr &a, const ptr &b) noexcept
    {
        return a.get() == b.get();
    }
    friend bool operator!=(const ptr &a, const ptr &b) noexcept
    {
        return a.get() != b.get();
    }
    friend bool operator<(const ptr &a, const ptr &b) noexcept
    {
        return a.get() < b.get();
    }
    friend bool operator>(const ptr &a, const ptr &b) noexcept
    {
        return a.get() > b.get();
    }
    friend bool operator<=(const ptr &a, const ptr &b) noexcept
    {
        return a.get() <= b.get();
    }
    friend bool operator>=(const ptr &a, const ptr &b) noexcept
    {
        return a.get() >= b.get();
    }

  private:
    /* From the byte after this object's first one, to which nothing points. 0: null. */
    std::uintptr_t distance_ = 0;

    std::uintptr_t origin() const noexcept
    {
        return reinterpret_cast<std::uintptr_t>(this) + 1;
    }
    T *target() const noexcept
    {
        return reinterpret_cast<T *>(origin() + distance_);
    }
    void set(T *target) noexcept
    {
        distance_ = target == nullptr ? 0 : reinterpret_cast<std::uintptr_t>(target) - origin();
    }
};

/* ---- the handle's owner -------------------------------------------------------------------- */

/* Options with the defaults, to be changed: alps::create_options o; o.size = 1 << 30; */
struct create_options : alps_create_options {
    create_options() noexcept : alps_create_options{}
    {
        struct_size = sizeof(alps_create_options);
    }
};
struct open_options : alps_open_options {
    open_options() noexcept : alps_open_options{}
    {
        struct_size = sizeof(alps_open_options);
    }
};

/* An open heap; closed by the destructor. What alps.h has besides is called with get(). */
class heap
{
  public:
    explicit heap(const std::string &path, const open_options &options = {})
    {
        must(alps_heap_open(path.c_str(), &options, &handle_));
    }
    /* Over several files, in the order of its creation. */
    explicit heap(const std::vector<std::string> &paths, const open_options &options = {})
    {
        must(alps_heap_open_files(texts(paths).data(), static_cast<unsigned>(paths.size()),
                                  &options, &handle_));
    }
    heap(heap &&other) noexcept : handle_(std::exchange(other.handle_, nullptr))
    {
    }
    heap &operator=(heap &&other) noexcept
    {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~heap()
    {
        alps_heap_close(handle_);
    }

    /* Creates a heap, and opens it. */
    static heap create(const std::string &path, const create_options &creating = {},
                       const open_options &opening = {})
    {
        must(alps_heap_create(path.c_str(), &creating));
        return heap(path, opening);
    }
    static heap create(const std::vector<std::string> &paths, const create_options &creating = {},
                       const open_options &opening = {})
    {
        must(alps_heap_create_files(texts(paths).data(), static_cast<unsigned>(paths.size()),
                                    &creating));
        return heap(paths, opening);
    }

    alps_heap_t *get() const noexcept
    {
        return handle_;
    }

    /* Makes an object in the heap, as new does; ends it and frees its memory, as delete does. */
    template <class T, class... Arguments> T *construct(Arguments &&...arguments);
    template <class T> void destroy(T *object);

    /* The object of a name; nullptr if there is none. Whoever asks knows its type: what is too
     * small for a T is refused, other mistakes are not found out. */
    template <class T> T *root(const std::string &name) const
    {
        alps_ptr_t p = alps_root_get(handle_, name.c_str());
        if (p == ALPS_NULL && errno != ENOENT)
            must(-errno);
        std::size_t size = alps_usable_size(handle_, p);
        if (size != 0 && size < sizeof(T))
            throw std::system_error(EINVAL, std::generic_category(),
                                    "root " + name + " is of " + std::to_string(size) +
                                        " bytes, its type of " + std::to_string(sizeof(T)));
        return at<T>(p);
    }
    /* Binds a name to an object in the heap, or to nothing (nullptr). */
    void set_root(const std::string &name, const void *object)
    {
        must(alps_root_set(handle_, name.c_str(), object == nullptr ? ALPS_NULL : inside(object)));
    }

    /* From the pointers of alps.h, and to them: ALPS_NULL if it lies outside the heap. */
    template <class T> T *at(alps_ptr_t p) const noexcept
    {
        return static_cast<T *>(alps_deref(handle_, p));
    }
    alps_ptr_t offset(const void *address) const noexcept
    {
        return alps_ref(handle_, address);
    }

  private:
    alps_heap_t *handle_ = nullptr;

    static std::vector<const char *> texts(const std::vector<std::string> &paths)
    {
        std::vector<const char *> result;
        for (const std::string &path : paths)
            result.push_back(path.c_str());
        return result;
    }
    alps_ptr_t inside(const void *address) const
    {
        alps_ptr_t p = offset(address);
        if (p == ALPS_NULL)
            throw std::system_error(EINVAL, std::generic_category(),
                                    "the object does not lie in the heap");
        return p;
    }
};

/* ---- the allocator ------------------------------------------------------------------------- */

/* Allocates from the heap that it was made for, whoever uses it: in each process it finds the
 * handle there by where it lies itself. A process that has not opened the heap gets EINVAL.
 * A container stays in its heap when another one is assigned to it or swapped with it. */
template <class T> class allocator
{
  public:
    using value_type = T;
    using pointer = ptr<T>;
    using const_pointer = ptr<const T>;
    using void_pointer = ptr<void>;
    using const_void_pointer = ptr<const void>;
    using size_type = std::size_t;
    using difference_type = std::ptrdiff_t;

    allocator(const heap &heap) noexcept : allocator(heap.get())
    {
    }
    explicit allocator(const alps_heap_t *heap) noexcept
        : somewhere_(heap == nullptr ? nullptr : alps_deref(heap, 1))
    {
    }
    template <class U> allocator(const allocator<U> &other) noexcept : somewhere_(other.somewhere_)
    {
    }

    pointer allocate(size_type n)
    {
        if (n > max_size())
            throw std::bad_array_new_length();
        alps_heap_t *handle = alps_heap_at(somewhere_.get());
        if (handle == nullptr)
            throw std::system_error(EINVAL, std::generic_category(),
                                    "the allocator's heap is not open in this process");
        alps_ptr_t block =
            alignof(T) <= 16 ? alps_malloc(handle, n * sizeof(T), ALPS_ANY_NODE)
                             : alps_aligned_alloc(handle, alignof(T), n * sizeof(T), ALPS_ANY_NODE);
        if (block == ALPS_NULL)
            must(-errno);
        return pointer(static_cast<T *>(alps_deref(handle, block)));
    }
    void deallocate(const pointer &p, size_type) noexcept
    {
        alps_heap_t *handle = alps_heap_at(somewhere_.get());
        if (handle != nullptr)
            alps_free(handle, alps_ref(handle, p.get()));
    }
    size_type max_size() const noexcept
    {
        return static_cast<size_type>(PTRDIFF_MAX) / sizeof(T);
    }

    template <class U> friend bool operator==(const allocator &a, const allocator<U> &b) noexcept
    {
        return a.is_of_heap_of(b);
    }
    template <class U> friend bool operator!=(const allocator &a, const allocator<U> &b) noexcept
    {
        return !a.is_of_heap_of(b);
    }

  private:
    template <class U> friend class allocator;

    ptr<const void> somewhere_; /* in the heap, the same place for all its allocators */

    template <class U> bool is_of_heap_of(const allocator<U> &other) const noexcept
    {
        return somewhere_ == other.somewhere_;
    }
};

template <class T, class... Arguments> T *heap::construct(Arguments &&...arguments)
{
    allocator<T> memory(*this);
    T *object = memory.allocate(1).get();
    try {
        if constexpr (std::is_constructible_v<T, Arguments...>)
            return ::new (static_cast<void *>(object)) T(std::forward<Arguments>(arguments)...);
        else
            return ::new (static_cast<void *>(object)) T{std::forward<Arguments>(arguments)...};
    } catch (...) {
        memory.deallocate(object, 1);
        throw;
    }
}

template <class T> void heap::destroy(T *object)
{
    if (object == nullptr)
        return;
    alps_ptr_t p = inside(object);
    object->~T();
    must(alps_free(handle_, p));
}

} // namespace alps

#endif
